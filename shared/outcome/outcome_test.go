package outcome_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/outcome"
)

var at = time.Date(2026, 12, 1, 22, 30, 0, 0, time.FixedZone("CET", 3600))

func TestWhatAnErrorAsksFor(t *testing.T) {
	t.Parallel()
	cause := errors.New("mailbox is full")
	for _, test := range []struct {
		name            string
		err             error
		snoozed, cancel bool
	}{
		{"nothing", nil, false, false},
		{"a failure", cause, false, false},
		{"a snooze", outcome.Snooze(at, "throttled"), true, false},
		{"a snooze inside another error", fmt.Errorf("copy: %w", outcome.Snooze(at, "throttled")), true, false},
		{"an end", outcome.Cancel(cause), false, true},
		{"an end inside another error", fmt.Errorf("copy: %w", outcome.Cancel(cause)), false, true},
		{"an end because of what would have been a snooze", outcome.Cancel(outcome.Snooze(at, "no progress")), true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			until, snoozed := outcome.Snoozed(test.err)
			if snoozed != test.snoozed || snoozed && !until.Equal(at) || !snoozed && !until.IsZero() {
				t.Errorf("snoozed %t until %s", snoozed, until)
			}
			if got := outcome.Cancelled(test.err); got != test.cancel {
				t.Errorf("cancelled %t", got)
			}
		})
	}
}

func TestTheReasonStaysReadable(t *testing.T) {
	t.Parallel()
	cause := errors.New("mailbox is full")
	if err := outcome.Cancel(fmt.Errorf("import: %w", cause)); err.Error() != "import: mailbox is full" || !errors.Is(err, cause) {
		t.Errorf("an end reads %q", err)
	}
	if err := outcome.Snooze(at, "throttled"); err.Error() != "come back at 2026-12-01T21:30:00Z: throttled" {
		t.Errorf("a snooze reads %q", err)
	}
}
