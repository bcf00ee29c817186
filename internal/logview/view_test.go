package logview

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// incident is what `docker compose logs` prints of a request that fails, and of others.
var incident = []string{
	`crm-1     | 2026-11-27T02:00:01.000000000Z started`,
	`crm-1     | 2026-11-27T02:00:03.500000000Z req=7f3a2b10-aaaa ERROR: relation "x" does not exist`,
	`crm-1     | 2026-11-27T02:00:03.600000000Z trace 4bf92f3577b34da6 ended`,
	`edge-1    | 2026-11-27T02:00:02.000000000Z {"level":"info","ts":1,"logger":"edge","msg":"endpoint is ready","service":"crm:80","reason":"passed"}`,
	`edge-1    | 2026-11-27T02:00:03.700000000Z {"level":"error","ts":1,"logger":"http.log.access.log0","msg":"handled request","request":{"method":"GET","host":"crm.example.com","uri":"/x?sid=REDACTED"},"duration":1.5,"size":12,"status":502,"service":"crm:80","endpoint":"10.0.0.2:80","attempts":2,"held_ms":300,"request_id":"7f3a2b10-aaaa","traceID":"4bf92f3577b34da6"}`,
	`edge-1    | 2026-11-27T02:00:03.800000000Z {"level":"info","ts":1,"logger":"http.log.access.log0","msg":"handled request","request":{"method":"POST","host":"books.example.com","uri":"/y"},"duration":0.0123,"size":12,"status":200,"service":"shop/books:3000","endpoint":"10.0.0.3:3000","attempts":1,"held_ms":0,"request_id":"11111111-bbbb"}`,
	`edge-1    | 2026-11-27T02:00:03.900000000Z {"@timestamp":"2026-11-27T02:00:03.900Z","log.level":"info","message":"handled request","ecs.version":"8.17.0","event.dataset":"edge.access","event.duration":2000000000,"http.request.id":"22222222-cccc","http.request.method":"PUT","http.response.status_code":204,"url.domain":"crm.example.com","url.original":"/z","service.target.name":"crm:80","destination.address":"10.0.0.2:80"}`,
	`books-1   | 2026-11-27T02:00:02.500000000Z {"level":30,"msg":"no entry of the edge"}`,
	`edge-1    | 2026-11-27T02:00:04.000000000Z {"level":"error","ts":1,"logger":"http.handlers.edge","msg":"requests are refused","service":"books:3000","reason":"no container is ready"}`,
	`some warning of Compose`,
	`db-1      | not a time`,
}

// show returns what a view prints of the incident, without the date-dependent hour.
func show(t *testing.T, v *View) string {
	t.Helper()
	var out strings.Builder
	v.Out, v.Edge = &out, "edge"
	for _, line := range incident {
		v.Add(line, AnyContainer)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(out.String()) {
		b.WriteString(line[strings.Index(line, ":")+1:])
	}
	return b.String()
}

const (
	started  = "00:01.000 crm-1 | started\n"
	ready    = "00:02.000 edge-1 | edge: endpoint is ready reason=passed service=crm:80\n"
	noEntry  = "00:02.500 books-1 | {\"level\":30,\"msg\":\"no entry of the edge\"}\n"
	relation = "00:03.500 crm-1   | req=7f3a2b10-aaaa ERROR: relation \"x\" does not exist\n"
	trace    = "00:03.600 crm-1   | trace 4bf92f3577b34da6 ended\n"
	failed   = "00:03.700 edge-1  | GET crm.example.com/x?sid=REDACTED 502 1.5s → crm:80 10.0.0.2:80, 2 attempts, held 300ms id=7f3a2b10-aaaa\n"
	posted   = "00:03.800 edge-1  | POST books.example.com/y 200 12ms → shop/books:3000 10.0.0.3:3000 id=11111111-bbbb\n"
	put      = "00:03.900 edge-1  | PUT crm.example.com/z 204 2s → crm:80 10.0.0.2:80 id=22222222-cccc\n"
	refused  = "00:04.000 edge-1  | ERROR http.handlers.edge: requests are refused reason=\"no container is ready\" service=books:3000\n"
)

func TestLinesAreMergedByTime(t *testing.T) {
	if got, want := show(t, &View{}), started+ready+noEntry+relation+trace+failed+posted+put+refused; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFiltersAreCombined(t *testing.T) {
	// Names are aligned with the longest so far, so that compare looks at what follows them.
	texts := func(s string) (all []string) {
		for line := range strings.Lines(s) {
			at, rest, _ := strings.Cut(line, " ")
			name, text, _ := strings.Cut(rest, "|")
			all = append(all, at+" "+strings.TrimSpace(name)+text)
		}
		return all
	}
	for _, c := range []struct {
		view *View
		want string
	}{
		{&View{Errors: true}, relation + failed + refused},
		{&View{Slow: time.Second}, failed + put},
		{&View{Slow: time.Second, Errors: true}, failed},
		{&View{Request: "7f3a2b10-aaaa"}, relation + trace + failed}, // the line before has only the trace
		{&View{Request: "4bf92f3577b34da6"}, relation + trace + failed},
		{&View{Request: "7f3a2b10-aaaa", Errors: true}, relation + failed},
		{&View{Request: "no such request"}, ""},
		{&View{Services: []string{"crm"}}, started + ready + relation + trace + failed + put},
		{&View{Services: []string{"books"}}, noEntry + posted + refused},
		{&View{Services: []string{"edge"}}, ready + failed + posted + put + refused},
		{&View{Services: []string{"db"}}, ""},
	} {
		if got := show(t, c.view); strings.Join(texts(got), "") != strings.Join(texts(c.want), "") {
			t.Errorf("%s: errors %t, slow %v, services %v: printed\n%s\nwant\n%s", c.view.Request, c.view.Errors, c.view.Slow, c.view.Services, got, c.want)
		}
	}
}

// TestContainersMayHaveAnyName: compose.yaml may say container_name.
func TestContainersMayHaveAnyName(t *testing.T) {
	var out strings.Builder
	v := View{Out: &out, Services: []string{"db"}, Edge: "edge"}
	v.Add("shop-db | 2026-11-27T02:00:01Z started", Selected)
	v.Add(`my-edge | 2026-11-27T02:00:02Z {"level":"info","ts":1,"logger":"edge","msg":"endpoint is ready","service":"db:80"}`, FromEdge)
	v.Add(`my-edge | 2026-11-27T02:00:03Z {"level":"info","ts":1,"logger":"edge","msg":"endpoint is ready","service":"crm:80"}`, FromEdge)
	if err := v.Close(); err != nil || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), "started") || !strings.Contains(out.String(), "service=db:80") {
		t.Errorf("%v, printed\n%s", err, out.String())
	}
}

// TestASocketIsNotSlow: its duration is the time for which it was open.
func TestASocketIsNotSlow(t *testing.T) {
	var out strings.Builder
	v := View{Out: &out, Slow: time.Second}
	v.Add(`edge-1 | 2026-11-27T02:00:01Z {"level":"info","ts":1,"logger":"http.log.access","msg":"handled request","size":1,"status":101,"duration":60,"request":{"method":"GET","host":"a","uri":"/"}}`, AnyContainer)
	if err := v.Close(); err != nil || out.Len() > 0 {
		t.Errorf("%v, printed %s", err, out.String())
	}
}

// TestErrorsOfApplications in the manners of their languages.
func TestErrorsOfApplications(t *testing.T) {
	for text, want := range map[string]bool{
		"TypeError: x is not a function": true, "java.lang.NullPointerException: null": true, "ERROR: relation does not exist": true, `{"level":50,"err":{"type":"ValueError"}}`: true,
		`{"level":30,"error":null,"msg":"done"}`: false, `{"level":30,"error":"","exception":false}`: false, "mirrored": false, "query NOERROR terror": false, `{"lastError":null,"isError": false}`: false, `{"error": "no route"}`: true,
	} {
		if got := (Line{Text: text}).IsError(); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
}

// TestLostRequestsAreErrors, although the edge logs them as warnings, and an incomplete response has a status of its own.
func TestLostRequestsAreErrors(t *testing.T) {
	for text, want := range map[string]bool{
		`{"level":"warn","ts":1,"logger":"http.reverse_proxy.transport.edge","msg":"a response was incomplete","service":"api:80","outcome":"incomplete"}`:                                                                              true,
		`{"@timestamp":"2026-11-27T02:00:01Z","ecs.version":"8.11","log.level":"warn","log.logger":"http.reverse_proxy.transport.edge","message":"a request was not answered","service.target.name":"api:80","edge.outcome":"unknown"}`: true,
		`{"level":"warn","ts":1,"logger":"edge","msg":"the queue is long"}`:                           false,
		`{"level":"warn","ts":1,"logger":"corteza","msg":"a workflow has ended","outcome":"skipped"}`: false,
	} {
		var out strings.Builder
		v := View{Out: &out, Errors: true}
		v.Add("edge-1 | 2026-11-27T02:00:01Z "+text, AnyContainer)
		if err := v.Close(); err != nil || (out.Len() > 0) != want {
			t.Errorf("%s: %v, printed %q", text, err, out.String())
		}
	}
}

// TestEntriesInECSSayWhatOthersSay.
func TestEntriesInECSSayWhatOthersSay(t *testing.T) {
	var out strings.Builder
	v := View{Out: &out}
	v.Add(`edge-1 | 2026-11-27T02:00:01Z {"@timestamp":"x","ecs.version":"8.11.0","log.level":"error","log.logger":"edge.restart","message":"an unhealthy container was not restarted","service.target.name":"api:80","error.message":"no guard","service.name":"edge","event.duration":5000000,"edge.outcome":"unknown","caddy.endpoint":"web/1","destination.address":"10.0.0.1:80","url.path":"/"}`, AnyContainer)
	if err := v.Close(); err != nil || !strings.HasSuffix(out.String(), "| ERROR edge.restart: an unhealthy container was not restarted address=10.0.0.1:80 duration=0.005 endpoint=web/1 error=\"no guard\" outcome=unknown service=api:80\n") {
		t.Errorf("%v, printed %s", err, out.String())
	}
}

func TestErrorsAreRedOnATerminal(t *testing.T) {
	got := show(t, &View{IsColor: true, Errors: true})
	if strings.Count(got, red) != 3 || strings.Count(got, reset) < 9 || strings.Contains(show(t, &View{Errors: true}), "\x1b") {
		t.Errorf("printed %q", got)
	}
}

// TestALogCannotControlTheTerminal with escape sequences, in a text or in an entry.
func TestALogCannotControlTheTerminal(t *testing.T) {
	var out strings.Builder
	v := View{Out: &out}
	v.Add("a-1 | 2026-11-27T02:00:01Z \x1b[2Jgone\r\x07\u009b31m", AnyContainer)
	v.Add(`edge-1 | 2026-11-27T02:00:01Z {"level":"info","ts":1,"logger":"http.log.access","msg":"handled request","size":1,"status":200,"request":{"method":"GET","host":"a","uri":"/\u001b[2J"}}`, AnyContainer)
	v.Add(`edge-1 | 2026-11-27T02:00:01Z {"level":"info","ts":1,"logger":"x","msg":"\u001b]0;title\u0007"}`, AnyContainer)
	if err := v.Close(); err != nil || strings.ContainsAny(out.String(), "\x1b\x07\r\u009b") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// TestAViewThatFollowsWaitsForOlderLines for a moment, and not longer.
func TestAViewThatFollowsWaitsForOlderLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		v := View{Out: &out, Follow: true}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.Run(ctx)
		}()
		w := v.LineWriter(AnyContainer)
		for _, part := range []string{"b-1 | 2026-11-27T02:00:02Z second\na-1 | 2026-11", "-27T02:00:01Z first\n", "c-1 | 2026-11-27T02:00:03Z third"} {
			if _, err := fmt.Fprint(w, part); err != nil {
				t.Fatal(err)
			}
			time.Sleep(reorderWindow / 3)
		}
		time.Sleep(2 * reorderWindow)
		synctest.Wait()
		if got := out.String(); strings.Count(got, "\n") != 2 || strings.Index(got, "first") > strings.Index(got, "second") {
			t.Errorf("printed %q", got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if err := v.Close(); err != nil || !strings.HasSuffix(out.String(), "third\n") {
			t.Errorf("%v, printed %q", err, out.String())
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestABrokenOutputIsAnError(t *testing.T) {
	v := View{Out: brokenWriter{}}
	v.Add(incident[0], AnyContainer)
	if err := v.Close(); err == nil {
		t.Error("no error")
	}
}

func FuzzLine(f *testing.F) {
	for _, line := range incident {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := ParseLine(line); ok {
			if got := l.format(0, false); strings.ContainsAny(got, "\x1b\n\r") {
				t.Errorf("%q is shown as %q", line, got)
			}
		}
	})
}
