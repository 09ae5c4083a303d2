// Package outcome says what happens after a stage has returned an error that is no failure. Any other error means:
// deliver the message again, and park it when that has not helped often enough.
package outcome

import (
	"errors"
	"time"
)

type snooze struct {
	until time.Time
	why   string
}

func (s snooze) Error() string {
	return "come back at " + s.until.UTC().Format(time.RFC3339) + ": " + s.why
}

// Snooze asks for the same message again at a time, with its turn counted up. It is not a failure: throttled work and
// spent budgets end so.
func Snooze(until time.Time, why string) error { return snooze{until, why} }

// Snoozed says whether err asks to come back, and when.
func Snoozed(err error) (time.Time, bool) {
	s, ok := errors.AsType[snooze](err)
	return s.until, ok
}

// Why is what err says without the time at which it asks to come back.
func Why(err error) string {
	if s, ok := errors.AsType[snooze](err); ok {
		return s.why
	}
	return err.Error()
}

type cancel struct{ err error }

func (c cancel) Error() string { return c.err.Error() }
func (c cancel) Unwrap() error { return c.err }

// Cancel ends the mailbox's work: it is marked failed with the reason, and the message is done. Use it where trying
// again cannot help and a person must act.
func Cancel(err error) error { return cancel{err} }

// Cancelled says whether err ends the mailbox's work.
func Cancelled(err error) bool {
	_, ok := errors.AsType[cancel](err)
	return ok
}
