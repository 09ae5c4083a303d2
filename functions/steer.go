package main

import (
	"errors"
	"net/http"
	"runtime/debug"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
)

// steer answers POST /api/waves/{wave}/{action} and POST /api/waves/{wave}/mailboxes/{mailbox}/{action}.
type steer struct{ *pipeline.Pipeline }

// steered is the answer: which mailboxes were in a state for the action, and which did not go on and why.
type steered struct {
	Changed   int                   `json:"changed"`
	Mailboxes []migration.MailboxID `json:"mailboxes"`
	Refused   []migration.MailboxID `json:"refused,omitempty"`
	Because   string                `json:"because,omitempty"`
}

func (s steer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := operator.Action(r.PathValue("action"))
	if !operator.Known(a) {
		answer(w, http.StatusNotFound, failure{Error: "no such action; there are retry, pause, resume, cancel and delta"})
		return
	}
	changed, err := s.Operator.Act(r.Context(), a, migration.WaveID(r.PathValue("wave")), migration.MailboxID(r.PathValue("mailbox")))
	if taken, ok := errors.AsType[*ledger.Claimed](err); ok {
		answer(w, http.StatusConflict, failure{Error: taken.Error()})
		return
	}
	done := steered{Changed: len(changed), Mailboxes: changed}
	if some, ok := errors.AsType[*operator.Refused](err); ok {
		done.Refused, done.Because, err = some.Mailboxes, some.Because.Error(), nil
	}
	if err != nil {
		showWave(s).fail(w, err, "there is no such wave or mailbox")
		return
	}
	answer(w, http.StatusOK, done)
}

// about answers GET /api/about: what runs here.
type about struct{}

// apiVersion counts up when a client of an earlier version would be misled.
const apiVersion = 1

func (about) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Version string `json:"version"`
		API     int    `json:"api"`
	}{version(), apiVersion})
}

// version is the module's: the commit's when it was built in a clone.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
