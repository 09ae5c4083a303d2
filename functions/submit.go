package main

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/submitter"
)

// maxBatch is how many bytes a submission may have: 100,000 lines with two addresses of the usual length.
const maxBatch = 16 << 20

// submit answers POST /api/batches: a batch as CSV or JSON in, the wave out.
type submit struct{ *pipeline.Pipeline }

// submitted is the answer: where to watch the wave.
type submitted struct {
	Wave      migration.WaveID `json:"wave"`
	Mailboxes int              `json:"mailboxes"`
	URL       string           `json:"url"` // path of the wave below the host
}

func (s submit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := parse(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	wave, err := s.Submitter.Submit(r.Context(), b)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.Log.Info("submitted", "wave", wave.ID, "mailboxes", wave.Mailboxes)
	// A wave that cannot be started now is started by the timer: it exists.
	if err := s.Starter.Start(r.Context(), wave); err != nil {
		s.Log.Warn("wave waits for the timer", "wave", wave.ID, "reason", err.Error())
	}
	url := "/api/waves/" + string(wave.ID)
	w.Header().Set("Location", url)
	answer(w, http.StatusAccepted, submitted{wave.ID, wave.Mailboxes, url})
}

// parse reads the body as what its content type says.
func parse(w http.ResponseWriter, r *http.Request) (submitter.Batch, error) {
	body := http.MaxBytesReader(w, r.Body, maxBatch)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var b submitter.Batch
	var err error
	switch kind {
	case "application/json":
		b, err = submitter.ParseJSON(body)
	case "text/csv", "text/plain", "application/vnd.ms-excel":
		b, err = submitter.ParseCSV(body)
		b.Name = r.URL.Query().Get("name")
	default:
		return b, &httpError{http.StatusUnsupportedMediaType, "send the batch as Content-Type text/csv or application/json"}
	}
	if err != nil && cut(body) {
		return b, &httpError{http.StatusRequestEntityTooLarge, "the batch is larger than 16 MiB; split it"}
	}
	return b, err
}

// cut says whether a body was longer than it may be. Whoever decodes one may report that as a fault of its content.
func cut(body io.Reader) bool {
	_, err := body.Read(make([]byte, 1)) // the error of a MaxBytesReader stays
	_, large := errors.AsType[*http.MaxBytesError](err)
	return large
}

// refuse answers with what is wrong; an error that is not the sender's is logged and kept back.
func (s submit) refuse(w http.ResponseWriter, err error) {
	if bad, ok := errors.AsType[*submitter.BatchError](err); ok {
		refuse(w, bad)
		return
	}
	s.Log.Error("submit failed", "reason", err.Error())
	answer(w, http.StatusServiceUnavailable, failure{Error: "the ledger cannot be reached; nothing was submitted, try again"})
}

// failure is the answer to a request that cannot be met.
type failure struct {
	Error  string            `json:"error"`
	Faults []submitter.Fault `json:"faults,omitempty"`
}

// httpError is an error with its status.
type httpError struct {
	status int
	what   string
}

func (e *httpError) Error() string { return e.what }

func refuse(w http.ResponseWriter, err error) {
	if bad, ok := errors.AsType[*submitter.BatchError](err); ok {
		answer(w, http.StatusBadRequest, failure{"nothing was submitted; mend what is listed and submit again", bad.Faults})
		return
	}
	if e, ok := errors.AsType[*httpError](err); ok {
		answer(w, e.status, failure{Error: e.what})
		return
	}
	answer(w, http.StatusBadRequest, failure{Error: "the request's body cannot be read"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the caller has gone
}
