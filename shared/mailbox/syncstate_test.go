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

// told is a side that says one thing after another about changes.
type told struct {
	mailbox.Side
	says  []answer
	asked []mailbox.SyncState
}

type answer struct {
	page mailbox.Changes
	err  error
}

func (s *told) Changes(_ context.Context, _ mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	s.asked = append(s.asked, since)
	a := s.says[0]
	if len(s.says) > 1 {
		s.says = s.says[1:]
	}
	return a.page, a.err
}

var (
	busy       = &mailbox.Throttled{By: "test"}
	errBroken  = errors.New("connection lost")
	errRefused = fmt.Errorf("status 410: %w", mailbox.ErrStartAgain)
)

func TestWhetherAFolderIsUnchanged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state mailbox.SyncState
		says  answer
		want  bool
		asked int
		err   error
	}{
		{"nothing changed", "1", answer{page: mailbox.Changes{State: "2"}}, true, 1, nil},
		{"something changed", "1", answer{page: mailbox.Changes{Items: 1, State: "2"}}, false, 1, nil},
		{"more follows, which is not asked for", "1", answer{page: mailbox.Changes{State: "2", More: true}}, false, 1, nil},
		{"there is no state", "", answer{}, false, 0, nil},
		{"it is refused", "1", answer{err: errRefused}, false, 1, nil},
		{"no answer", "1", answer{err: errBroken}, false, 1, nil},
		{"throttled", "1", answer{err: busy}, false, 1, busy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			side := &told{says: []answer{tt.says}}
			got, err := tt.state.Unchanged(t.Context(), side, "f")
			if got != tt.want || len(side.asked) != tt.asked || !errors.Is(err, tt.err) {
				t.Errorf("%t, asked %d times, error %v", got, len(side.asked), err)
			}
		})
	}
}

func TestAStateIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	page := func(items int, state mailbox.SyncState, more bool) answer {
		return answer{page: mailbox.Changes{Items: items, State: state, More: more}}
	}
	long := mailbox.SyncState(strings.Repeat("x", 200_000))
	for _, tt := range []struct {
		name  string
		state mailbox.SyncState
		says  []answer
		want  bool
		after mailbox.SyncState
		asked string // with these states
		err   error
	}{
		{"nothing changed", "1", []answer{page(0, "2", false)}, true, "2", "[1]", nil},
		{"something changed, in pages", "1", []answer{page(5, "2", true), page(0, "3", true), page(0, "4", false)}, false, "4", "[1 2 3]", nil},
		{"there is none", "", []answer{page(5, "2", true), page(1, "3", false)}, false, "3", "[ 2]", nil},
		{"there is none, and the folder is empty", "", []answer{page(0, "2", false)}, false, "2", "[]", nil},
		{"it is refused", "1", []answer{{err: errRefused}, page(5, "2", false)}, false, "2", "[1 ]", nil},
		{"a page of it is refused", "1", []answer{page(5, "2", true), {err: errRefused}, page(5, "3", false)}, false, "3", "[1 2 ]", nil},
		{"it is refused, and none is to be had", "1", []answer{{err: errRefused}, {err: errBroken}}, false, "", "[1 ]", nil},
		{"it is refused, and so is the next", "1", []answer{{err: errRefused}}, false, "", "[1 ]", nil},
		{"no answer: it stays good", "1", []answer{page(5, "2", true), {err: errBroken}}, false, "1", "[1 2]", nil},
		{"throttled", "1", []answer{{err: busy}}, false, "1", "[1]", busy},
		{"throttled while a new one is made", "", []answer{page(5, "2", true), {err: busy}}, false, "", "[ 2]", busy},
		{"a new one that is too long", "", []answer{page(5, long, false)}, false, "", "[]", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state, side := tt.state, &told{says: tt.says}
			got, err := state.Advance(t.Context(), side, "f")
			var asked []string
			for _, s := range side.asked {
				asked = append(asked, string(s))
			}
			if got != tt.want || state != tt.after || fmt.Sprint(asked) != tt.asked || !errors.Is(err, tt.err) {
				t.Errorf("unchanged %t, state %q, asked with %v, error %v", got, string(state), asked, err)
			}
		})
	}
}

func TestAStateIsNotAskedForInVain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	state := mailbox.SyncState("1")
	if _, err := state.Unchanged(ctx, &told{says: []answer{{err: context.Canceled}}}, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := state.Advance(ctx, &told{says: []answer{{err: context.Canceled}}}, "f"); !errors.Is(err, context.Canceled) || state != "1" {
		t.Errorf("state %q, error %v", string(state), err)
	}
}

func TestASilentFeedIsAskedOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		err   error
		asked int
	}{{"no answer", errBroken, 1}, {"refused", errRefused, 3}, {"throttled", busy, 3}, {"an answer", nil, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			side := &told{says: []answer{{err: tt.err}}}
			feed := mailbox.Feed(side)
			for range 3 {
				if _, err := feed.Changes(t.Context(), "f", "1"); !errors.Is(err, tt.err) {
					t.Errorf("error %v", err)
				}
			}
			if len(side.asked) != tt.asked {
				t.Errorf("asked %d times, want %d", len(side.asked), tt.asked)
			}
		})
	}
}
