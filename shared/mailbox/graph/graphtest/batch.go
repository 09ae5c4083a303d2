package graphtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	maxBatch      = 20 // requests in one batch
	batchParallel = 4  // entries sent on at once
)

type batchEntry struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// batch does up to 20 requests, each judged and answered for itself.
func (c *call) batch() error {
	if err := c.requireJSON(); err != nil {
		return err
	}
	b, err := c.small()
	if err != nil {
		return err
	}
	var in struct {
		Requests []batchEntry `json:"requests"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return badRequest("Invalid batch payload format.")
	}
	chain, err := checkBatch(in.Requests)
	if err != nil {
		return err
	}
	answers := make([]batchAnswer, len(in.Requests))
	if chain {
		c.inOrder(in.Requests, answers)
	} else {
		c.atOnce(in.Requests, answers)
	}
	return c.reply(http.StatusOK, object{{"responses", answers}})
}

// checkBatch says whether the entries form a chain. A batch is one chain or has no dependencies at all.
func checkBatch(es []batchEntry) (chain bool, err error) {
	if len(es) == 0 || len(es) > maxBatch {
		return false, badRequest("Number of batch request steps must be 1 to %d.", maxBatch)
	}
	seen := map[string]bool{}
	for i, e := range es {
		switch {
		case e.ID == "" || seen[e.ID]:
			return false, badRequest("Every request of a batch needs an id of its own.")
		case e.Method == "" || e.URL == "":
			return false, badRequest("Every request of a batch needs a method and a url.")
		case i == 0 && len(e.DependsOn) > 0, i > 1 && chain != (len(e.DependsOn) > 0):
			return false, badRequest("The requests of a batch depend on the one before, or none does.")
		case len(e.DependsOn) > 0 && (len(e.DependsOn) > 1 || e.DependsOn[0] != es[i-1].ID):
			return false, badRequest("The requests of a batch depend on the one before, or none does.")
		}
		chain = chain || len(e.DependsOn) > 0
		seen[e.ID] = true
	}
	return chain, nil
}

func (c *call) inOrder(es []batchEntry, out []batchAnswer) {
	failed := false
	for i, e := range es {
		if failed {
			out[i] = batchRefusal(e.ID, http.StatusFailedDependency, "FailedDependency", "A request this one depends on failed.")
			continue
		}
		out[i] = c.one(e)
		failed = out[i].Status >= 400
	}
}

func (c *call) atOnce(es []batchEntry, out []batchAnswer) {
	var g errgroup.Group
	g.SetLimit(batchParallel)
	for i, e := range es {
		g.Go(func() error {
			out[i] = c.one(e)
			return nil
		})
	}
	_ = g.Wait() // entries never fail as a group
}

func batchRefusal(id string, status int, code, message string) batchAnswer {
	return batchAnswer{ID: id, Status: status, Headers: map[string]string{"Content-Type": "application/json"},
		Body: errorBody{errorDetail{Code: code, Message: message}}}
}

// one does a single entry with the token of the batch.
func (c *call) one(e batchEntry) batchAnswer {
	path := "/" + c.version + "/" + strings.TrimPrefix(e.URL, "/")
	body, err := e.body()
	if err != nil || strings.Contains(strings.ToLower(path), "/$batch") || strings.Contains(e.URL, "://") {
		return batchRefusal(e.ID, http.StatusBadRequest, "BadRequest", "The request of the batch is not valid.")
	}
	r, err := http.NewRequestWithContext(c.ctx, strings.ToUpper(e.Method), path, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return batchRefusal(e.ID, http.StatusBadRequest, "BadRequest", "The request of the batch is not valid.")
	}
	r.Host, r.ContentLength = c.r.Host, int64(len(body))
	for k, v := range e.Headers {
		r.Header.Set(k, v)
	}
	w := &entryWriter{header: http.Header{}}
	stamp(w, r)
	c.s.api(w, r, c.claims)
	return w.answer(e.ID)
}

// body is the entry's JSON, or the bytes of a body given as base64.
func (e batchEntry) body() ([]byte, error) {
	var s string
	if len(e.Body) == 0 || string(e.Body) == "null" {
		return nil, nil
	}
	if json.Unmarshal(e.Body, &s) != nil {
		return e.Body, nil
	}
	return base64.StdEncoding.DecodeString(s)
}

// entryWriter collects the answer of one entry.
type entryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *entryWriter) Header() http.Header { return w.header }

func (w *entryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *entryWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *entryWriter) answer(id string) batchAnswer {
	a := batchAnswer{ID: id, Status: w.status, Headers: map[string]string{}}
	for k := range w.header {
		a.Headers[k] = w.header.Get(k)
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if b := w.body.Bytes(); json.Valid(b) {
		a.Body = json.RawMessage(b)
	} else if len(b) > 0 {
		a.Body = base64.StdEncoding.EncodeToString(b)
	}
	return a
}
