package attacks

import (
	"fmt"
	"net/http"
	"strings"
)

// describeRequests describes in a few words what a backend got.
func describeRequests(all []*recordedRequest) string {
	if len(all) == 0 {
		return "nothing"
	}
	var words []string
	for _, e := range all {
		line, _, _ := strings.Cut(e.head, "\r\n")
		words = append(words, fmt.Sprintf("%s (%d B)", strings.TrimSuffix(line, " HTTP/1.1"), len(e.body)))
	}
	return strings.Join(words, ", ")
}

// describeAnswers describes in a few words what a client got.
func describeAnswers(answers []*http.Response, err error) string {
	if len(answers) == 0 {
		return fmt.Sprintf("nothing (%v)", err)
	}
	var words []string
	for _, a := range answers {
		words = append(words, fmt.Sprint(a.StatusCode))
	}
	return strings.Join(words, ", ")
}
