package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/reporter"
)

// showWave answers GET /api/waves/{wave}, with ?problems=true also with every problem of the wave. The wave
// [parker.Unreadable] has the problems of messages that name no mailbox.
type showWave struct{ *pipeline.Pipeline }

// waveStatus is where a wave stands.
type waveStatus struct {
	migration.Wave
	States map[migration.State]int `json:"states"` // mailboxes by state
	Over   bool                    `json:"over"`   // nothing more happens by itself
	Items  migration.Counts        `json:"items"`  // as last verified
	Copied int                     `json:"copied"` // items
	Bytes  int64                   `json:"bytes"`
	Boxes  []mailboxLine           `json:"boxes"`

	Problems []reporter.Problem `json:"problems,omitzero"` // when they are asked for
	More     bool               `json:"more,omitempty"`    // problems than are listed
}

// mailboxLine is one mailbox of a wave. The address stands in the mailbox's own page.
type mailboxLine struct {
	ID      migration.MailboxID `json:"id"`
	State   migration.State     `json:"state"`
	Pass    int                 `json:"pass"`
	Planned int                 `json:"planned"` // items of the plan under way
	Settled int                 `json:"settled"` // of these, how many have a result
	Problem string              `json:"problem,omitempty"`
	Wait    migration.Wait      `json:"wait,omitzero"` // why nothing happens at the moment
}

func (s showWave) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wave, err := s.wave(r.Context(), migration.WaveID(r.PathValue("wave")))
	if err != nil {
		s.fail(w, err, "there is no such wave")
		return
	}
	status := waveStatus{Wave: wave, States: map[migration.State]int{}, Over: true, Boxes: []mailboxLine{}}
	for box, err := range s.Ledger.WaveMailboxes(r.Context(), wave.ID) {
		if err != nil {
			s.fail(w, err, "")
			return
		}
		status.add(box, s.Clock.Now())
	}
	if wantsPage(r) {
		showPage(w, r, status)
		return
	}
	if r.URL.Query().Get("problems") == "true" {
		if status.Problems, status.More, err = s.Reporter.Problems(r.Context(), wave.ID); err != nil {
			s.fail(w, err, "")
			return
		}
	}
	answer(w, http.StatusOK, status)
}

func (s showWave) wave(ctx context.Context, id migration.WaveID) (migration.Wave, error) {
	if id == parker.Unreadable {
		return migration.Wave{ID: id, Name: "messages that cannot be read"}, nil
	}
	return s.Ledger.Wave(ctx, id)
}

func (s *waveStatus) add(b migration.Mailbox, now time.Time) {
	s.States[b.State]++
	s.Over = s.Over && b.State.Over()
	s.Copied += b.Copied + b.Progress
	s.Bytes += b.Bytes
	c := &s.Items
	c.Source, c.Target, c.Match = c.Source+b.Counts.Source, c.Target+b.Counts.Target, c.Match+b.Counts.Match
	c.Missing, c.Extra, c.Differs = c.Missing+b.Counts.Missing, c.Extra+b.Counts.Extra, c.Differs+b.Counts.Differs
	c.Skipped, c.Own = c.Skipped+b.Counts.Skipped, c.Own+b.Counts.Own
	if b.State.Held() || b.State.Over() || !b.Wait.Until.After(now) {
		b.Wait = migration.Wait{}
	}
	s.Boxes = append(s.Boxes, mailboxLine{b.ID, b.State, b.Pass, b.Plan().Items, b.Settled(), b.Problem, b.Wait})
}

// showMailbox answers GET /api/waves/{wave}/mailboxes/{mailbox}.
type showMailbox struct{ *pipeline.Pipeline }

func (s showMailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report, err := s.Reporter.Read(r.Context(), migration.WaveID(r.PathValue("wave")), migration.MailboxID(r.PathValue("mailbox")))
	if err != nil {
		showWave(s).fail(w, err, "there is no such mailbox in this wave")
		return
	}
	answer(w, http.StatusOK, report)
}

func (s showWave) fail(w http.ResponseWriter, err error, absent string) {
	if errors.Is(err, ledger.ErrNotFound) {
		answer(w, http.StatusNotFound, failure{Error: absent})
		return
	}
	s.Log.Error("status failed", "reason", err.Error())
	answer(w, http.StatusServiceUnavailable, failure{Error: "the ledger cannot be reached, try again"})
}
