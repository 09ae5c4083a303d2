package main

import (
	"errors"
	"io"
	"net/http"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
)

// showReceipt answers GET /api/waves/{wave}/mailboxes/{mailbox}/{part}: the receipt or its leaves.
type showReceipt struct{ *pipeline.Pipeline }

// parts are the files of a receipt: the ending of the blob, and what it is.
var parts = map[string][2]string{"receipt": {".json", "application/json"}, "leaves": {".leaves", "application/jsonl"}}

func (s showReceipt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part, ok := parts[r.PathValue("part")]
	if !ok {
		answer(w, http.StatusNotFound, failure{Error: "no such part of a mailbox; there are receipt and leaves"})
		return
	}
	box, err := s.Ledger.Mailbox(r.Context(), migration.WaveID(r.PathValue("wave")), migration.MailboxID(r.PathValue("mailbox")))
	if err != nil {
		showWave(s).fail(w, err, "there is no such mailbox in this wave")
		return
	}
	if box.Receipt == "" {
		answer(w, http.StatusNotFound, failure{Error: "the mailbox has no receipt: it is " + string(box.State) + ", or RECEIPT_KEY is not set"})
		return
	}
	body, _, err := s.Receipts.Open(r.Context(), box.Receipt+part[0], 0)
	if err != nil {
		s.fail(w, err)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", part[1])
	w.Header().Set("Cache-Control", "no-store")
	if _, err := io.Copy(w, body); err != nil {
		s.Log.Warn("receipt not sent", "wave", box.Wave, "mailbox", box.ID, "reason", err.Error())
	}
}

func (s showReceipt) fail(w http.ResponseWriter, err error) {
	s.Log.Error("receipt cannot be read", "reason", err.Error())
	what, status := "the storage cannot be reached, try again", http.StatusServiceUnavailable
	if errors.Is(err, blob.ErrNotFound) {
		what, status = "the receipt was removed from the storage", http.StatusNotFound
	}
	answer(w, status, failure{Error: what})
}
