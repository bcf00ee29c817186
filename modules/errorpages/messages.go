package errorpages

import (
	"net/http"

	"github.com/theworklabs/edge/internal/maintenance"
)

// message is the text of a page: what happened (Heading, Detail), and what the visitor can do (Advice).
type message struct{ Heading, Detail, Advice string }

const (
	startingText  = "It may be starting or being updated."
	contactAdvice = "If it goes on, tell those who run this site, with the number below."
)

// messagesByStatus has the statuses that the edge itself responds with.
var messagesByStatus = map[int]message{
	http.StatusForbidden: {
		"Not allowed", "This page is not open to you.",
		"If it should be, ask those who run this site, and give them the number below.",
	},
	http.StatusNotFound: {
		"Page not found", "There is nothing at this address.",
		"Check the address for typing errors, or go back to where you came from.",
	},
	http.StatusMethodNotAllowed: {
		"Not possible here", "What was asked for can't be done at this address.", "Go back, and try another way.",
	},
	http.StatusRequestTimeout: {
		"Too slow", "The request took too long to arrive.", "Check your connection, then try again.",
	},
	http.StatusRequestEntityTooLarge: {
		"Too large", "What you sent is larger than this site takes.", "Try again with a smaller file.",
	},
	http.StatusMisdirectedRequest: {
		"Wrong connection", "This connection belongs to another site.", "Open the address in a new window.",
	},
	http.StatusTooManyRequests: {
		"Too many requests", "More requests came from you, or from your network, than are let through at a time.", "",
	},
	http.StatusBadGateway: {
		"The application did not answer", "The request was passed on, but no proper answer came back. " + startingText, contactAdvice,
	},
	http.StatusServiceUnavailable: {
		"The application is not ready", startingText, contactAdvice,
	},
	http.StatusGatewayTimeout: {
		"The application took too long", "The request was passed on, but the answer did not come in time.", contactAdvice,
	},
}

// messageFor returns the message for any status of an error.
func messageFor(status int) message {
	if m, ok := messagesByStatus[status]; ok {
		return m
	}
	if status < http.StatusInternalServerError {
		return message{
			"This did not work", "The request could not be answered the way it was sent.",
			"Go back and try again. " + contactAdvice,
		}
	}
	return message{"Something went wrong", "It is not your fault.", "Try again in a moment. " + contactAdvice}
}

// downMessage is for an application that has had no ready container for a time such as "3 minutes".
func downMessage(since string) message {
	return message{
		"The application is down", "It has been down for " + since + ". Somebody has to look after it.",
		"If nobody knows yet, tell those who run this site, with the number below.",
	}
}

// maintenanceMessage is for an application in a maintenance window.
func maintenanceMessage(err *maintenance.Error) message {
	m := message{"Maintenance", err.Message, ""}
	if m.Detail == "" {
		m.Detail = "This application is being worked on, and will be back."
	}
	if err.RetryAfter > 0 {
		m.Advice = "It may take about " + durationInWords(err.RetryAfter) + "."
	}
	return m
}
