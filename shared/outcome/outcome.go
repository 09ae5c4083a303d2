// Package outcome says what happens after a stage has returned an error that is no failure. Any other error means:
// deliver the message again, and park it when that has not helped often enough.
package outcome

import (
	"errors"
	"fmt"
	"time"
)

type snooze struct {
	wait time.Duration
	why  string
}

func (s snooze) Error() string {
	return fmt.Sprintf("come back in %s: %s", s.wait.Round(time.Second), s.why)
}

// Snooze asks for the same message again after wait, with its turn counted up. It is not a failure: throttled work and
// spent budgets end so.
func Snooze(wait time.Duration, why string) error { return snooze{max(wait, 0), why} }

// Snoozed says whether err asks to come back, and after how long.
func Snoozed(err error) (time.Duration, bool) {
	var s snooze
	ok := errors.As(err, &s)
	return s.wait, ok
}

type cancel struct{ err error }

func (c cancel) Error() string { return c.err.Error() }
func (c cancel) Unwrap() error { return c.err }

// Cancel ends the mailbox's work: it is marked failed with the reason, and the message is done. Use it where trying
// again cannot help and a person must act.
func Cancel(err error) error { return cancel{err} }

// Cancelled says whether err ends the mailbox's work.
func Cancelled(err error) bool {
	var c cancel
	return errors.As(err, &c)
}
