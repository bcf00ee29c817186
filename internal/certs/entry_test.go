package certs

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// storedEntry is an entry as the last version, whose fields had no JSON tags, wrote it to the storage.
const storedEntry = `{"Name":"a.example","Managed":true,"Trying":true,"Renewal":true,"Tried":true,"Tries":1,` +
	`"Attempts":["2026-11-24T08:00:00Z"],"Last":{"reason":"rate_limited",` +
	`"message":"the certificate authority has been asked too often and wants a pause",` +
	`"hint":"wait; restarts and reloads don't make it sooner. Keep the volume edge_data, so that nothing has to be asked for twice",` +
	`"detail":"too many certificates, retry after 2026-11-24 12:15:00 UTC: see https://ca.example",` +
	`"at":"2026-11-24T08:00:00Z","retry_after":"2026-11-24T12:15:00Z"},"NotUntil":"2026-11-24T12:15:00Z","Final":true,` +
	`"Served":"2026-12-01T00:00:00Z","Counts":{"rate_limited":1},"Seen":"2026-11-24T08:00:05Z"}`

func TestEntryOfTheLastVersionIsReadAndWritten(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	want := Entry{
		Name: "a.example", Managed: true, AttemptRunning: true, IsRenewal: true, Attempted: true, Failures: 1, Attempts: []time.Time{at},
		LastFailure: &Failure{
			Reason:     RateLimited,
			Message:    "the certificate authority has been asked too often and wants a pause",
			Hint:       "wait; restarts and reloads don't make it sooner. Keep the volume edge_data, so that nothing has to be asked for twice",
			Detail:     "too many certificates, retry after 2026-11-24 12:15:00 UTC: see https://ca.example",
			At:         at,
			RetryAfter: at.Add(4*time.Hour + 15*time.Minute),
		},
		RetryNotBefore: at.Add(4*time.Hour + 15*time.Minute), IsPermanent: true,
		ServedNotAfter: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		FailureCounts:  map[Reason]int{RateLimited: 1}, UpdatedAt: at.Add(5 * time.Second),
	}
	var got Entry
	if err := json.Unmarshal([]byte(storedEntry), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwant %+v", got, want)
	}
	written, err := json.Marshal(want)
	if err != nil || string(written) != storedEntry {
		t.Errorf("%v, wrote %s\nwant %s", err, written, storedEntry)
	}
}
