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

// batchID is an id; published samples also give it as a number.
type batchID string

// UnmarshalJSON reads a string or a number.
func (id *batchID) UnmarshalJSON(b []byte) error {
	var n json.Number
	if json.Unmarshal(b, &n) == nil && b[0] != '"' {
		*id = batchID(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(id))
}

// key is the id to compare by: its case does not matter.
func (id batchID) key() batchID { return batchID(strings.ToLower(string(id))) }

type batchEntry struct {
	ID        batchID           `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []batchID         `json:"dependsOn"`
}

type batchAnswer struct {
	ID      batchID           `json:"id"`
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
	if err := checkBatch(in.Requests); err != nil {
		return err
	}
	chained, err := checkOrder(in.Requests)
	if err != nil {
		return err
	}
	answers := make([]batchAnswer, len(in.Requests))
	if chained {
		c.inOrder(in.Requests, answers)
	} else {
		c.atOnce(in.Requests, answers)
	}
	return c.reply(http.StatusOK, object{{"responses", answers}})
}

// checkBatch refuses the whole batch for one malformed entry. Ids are the same whatever their case.
func checkBatch(es []batchEntry) error {
	if len(es) == 0 || len(es) > maxBatch {
		return badRequest("Number of batch request steps must be 1 to %d.", maxBatch)
	}
	seen := map[batchID]bool{}
	for _, e := range es {
		id := e.ID.key()
		switch {
		case id == "" || seen[id]:
			return badRequest("Every request of a batch needs an id of its own.")
		case e.Method == "" || e.URL == "":
			return badRequest("Every request of a batch needs a method and a url.")
		case e.writes() && !(e.hasType() && e.hasBody()):
			return badRequest("Write request id : %s does not contain Content-Type header or body.", printable(string(e.ID)))
		}
		seen[id] = true
	}
	return nil
}

func (e batchEntry) writes() bool {
	switch strings.ToUpper(e.Method) {
	case http.MethodPost, http.MethodPatch, http.MethodPut:
		return true
	}
	return false
}

func (e batchEntry) hasType() bool {
	for name, value := range e.Headers {
		if strings.EqualFold(name, "Content-Type") && value != "" {
			return true
		}
	}
	return false
}

func (e batchEntry) hasBody() bool { return len(e.Body) > 0 && string(e.Body) != "null" }

// checkOrder says whether the entries are chained. Either none depends on another, or all but the first do: each on
// the one before it, or all on the first.
func checkOrder(es []batchEntry) (chained bool, err error) {
	free, serial, same := 0, true, true
	for i, e := range es {
		if len(e.DependsOn) == 0 {
			free++
			continue
		}
		one := i > 0 && len(e.DependsOn) == 1
		serial = serial && one && e.DependsOn[0].key() == es[i-1].ID.key()
		same = same && one && e.DependsOn[0].key() == es[0].ID.key()
	}
	if free == len(es) {
		return false, nil
	}
	if free > 1 || !serial && !same {
		return false, badRequest("The requests of a batch depend on the one before or on the first, or none does.")
	}
	return true, nil
}

func (c *call) inOrder(es []batchEntry, out []batchAnswer) {
	failed := map[batchID]bool{}
	for i, e := range es {
		if len(e.DependsOn) > 0 && failed[e.DependsOn[0].key()] {
			out[i] = batchRefusal(e.ID, http.StatusFailedDependency, "FailedDependency", "A request this one depends on failed.")
		} else {
			out[i] = c.one(e)
		}
		failed[e.ID.key()] = out[i].Status >= 400
	}
}

// atOnce puts the answers in another order than the requests, as may happen: an answer is known by its id only.
func (c *call) atOnce(es []batchEntry, out []batchAnswer) {
	var g errgroup.Group
	g.SetLimit(batchParallel)
	for i, e := range es {
		g.Go(func() error {
			out[len(out)-1-i] = c.one(e)
			return nil
		})
	}
	_ = g.Wait() // entries never fail as a group
}

func batchRefusal(id batchID, status int, code, message string) batchAnswer {
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

// body is the entry's JSON, or the bytes of a body given as base64, in the alphabet of URLs or the usual one.
func (e batchEntry) body() ([]byte, error) {
	var s string
	if !e.hasBody() {
		return nil, nil
	}
	if json.Unmarshal(e.Body, &s) != nil {
		return e.Body, nil
	}
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	return base64.RawURLEncoding.DecodeString(s)
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

func (w *entryWriter) answer(id batchID) batchAnswer {
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
