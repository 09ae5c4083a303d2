package mailbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
)

func TestAStateIsNotShown(t *testing.T) {
	t.Parallel()
	s := mailbox.SyncState("deltatoken")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "state", s)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", struct{ S mailbox.SyncState }{s}), log.String()} {
		if strings.Contains(shown, "deltatoken") {
			t.Errorf("shown as %s", shown)
		}
	}
}

// told is a side that says one thing about changes.
type told struct {
	mailbox.Side
	changed bool
	now     mailbox.SyncState
	err     error
	asked   []mailbox.SyncState
}

func (s *told) Changed(_ context.Context, _ mailbox.FolderID, since mailbox.SyncState) (bool, mailbox.SyncState, error) {
	s.asked = append(s.asked, since)
	return s.changed, s.now, s.err
}

func TestAStateIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	for _, tt := range []struct {
		name        string
		state       mailbox.SyncState
		side        told
		changed     bool
		after       mailbox.SyncState
		asked       int
		err         error
		begun       mailbox.SyncState
		askedToo    int
		beginFailed error
	}{
		{"nothing changed", "1", told{now: "2"}, false, "2", 1, nil, "2", 1, nil},
		{"something changed", "1", told{changed: true, now: "2"}, true, "2", 1, nil, "2", 1, nil},
		{"there is none", "", told{changed: true, now: "2"}, true, "", 0, nil, "2", 1, nil},
		{"it is refused", "1", told{err: fmt.Errorf("status 410: %w", mailbox.ErrStartAgain)}, true, "", 1, nil, "", 2, mailbox.ErrStartAgain},
		{"no answer", "1", told{err: broken}, false, "1", 1, broken, "1", 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := tt.state
			changed, err := state.Changed(t.Context(), &tt.side, "f")
			if changed != tt.changed || state != tt.after || len(tt.side.asked) != tt.asked || !errors.Is(err, tt.err) {
				t.Errorf("changed %t, state %q, asked %d times, error %v", changed, string(state), len(tt.side.asked), err)
			}
			err = state.Begin(t.Context(), &tt.side, "f")
			if state != tt.begun || len(tt.side.asked) != tt.askedToo || !errors.Is(err, tt.beginFailed) {
				t.Errorf("then: state %q, asked %d times, error %v", string(state), len(tt.side.asked), err)
			}
		})
	}
}
