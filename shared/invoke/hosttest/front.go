package hosttest

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxURL      = 8192
	maxQuery    = 4096
	maxBody     = 104_857_600 // FUNCTIONS_REQUEST_BODY_SIZE_LIMIT's default
	answerLimit = 230 * time.Second
)

// front serves HTTP from outside.
func (h *Host) front(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case len(r.RequestURI) > maxURL, len(r.URL.RawQuery) > maxQuery:
		w.WriteHeader(http.StatusRequestURITooLong)
		return
	case path == "/":
		_, _ = io.WriteString(w, "Your Functions host is up and running\n")
		return
	case strings.HasPrefix(strings.ToLower(path), "/admin/"):
		h.admin(w, r)
		return
	}
	for _, f := range h.functions {
		if !f.is("httpTrigger") {
			continue
		}
		if params, ok := f.route.match(r.Method, path); ok {
			h.authorized(w, r, f, params)
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// authorized checks the key and the size and calls the function.
func (h *Host) authorized(w http.ResponseWriter, r *http.Request, f *function, params object) {
	level := h.level(r)
	need := map[string]int{"anonymous": 0, "admin": 2}
	want, ok := need[strings.ToLower(f.trigger.AuthLevel)]
	if !ok {
		want = 1
	}
	switch limit := h.bodyLimit(); {
	case level < want:
		w.WriteHeader(http.StatusUnauthorized)
	case r.ContentLength > limit:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		h.limited(w, r, func(w http.ResponseWriter, r *http.Request) { h.callHTTP(w, r, f, params) })
	}
}

func (h *Host) bodyLimit() int64 {
	if n, err := strconv.ParseInt(h.config.Env["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"], 10, 64); err == nil {
		return n
	}
	return maxBody
}

// level is 2 for the master key, 1 for the function key, 0 otherwise. The header goes before the query.
func (h *Host) level(r *http.Request) int {
	key := r.Header.Get("X-Functions-Key")
	if key == "" {
		key = r.URL.Query().Get("code")
	}
	same := func(want string) bool { return subtle.ConstantTimeCompare([]byte(key), []byte(want)) == 1 }
	switch {
	case same(h.config.MasterKey):
		return 2
	case same(h.config.Key):
		return 1
	}
	return 0
}

// limited answers 504 after 230 s, as the load balancer does; the function goes on behind it.
func (h *Host) limited(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	g := &guard{w: w, header: http.Header{}}
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		do(g, r)
	}()
	limit := h.clock.NewTimer(answerLimit)
	defer limit.Stop()
	select {
	case v := <-done:
		if v != nil {
			panic(v)
		}
		g.WriteHeader(http.StatusOK)
	case <-limit.Chan():
		g.cut()
	}
}

// guard is an answer that can be cut off while it is being written.
type guard struct {
	mu     sync.Mutex
	w      http.ResponseWriter
	header http.Header
	wrote  bool
	dead   bool
}

func (g *guard) Header() http.Header { return g.header }

func (g *guard) WriteHeader(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writeHeader(status)
}

func (g *guard) writeHeader(status int) {
	if g.dead || g.wrote {
		return
	}
	g.wrote = status >= 200
	maps.Copy(g.w.Header(), g.header)
	g.w.WriteHeader(status)
}

func (g *guard) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return 0, http.ErrHandlerTimeout
	}
	g.writeHeader(http.StatusOK)
	return g.w.Write(b)
}

// FlushError lets http.ResponseController flush.
func (g *guard) FlushError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return http.ErrHandlerTimeout
	}
	return http.NewResponseController(g.w).Flush()
}

func (g *guard) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	if g.wrote {
		panic(http.ErrAbortHandler)
	}
	g.w.WriteHeader(http.StatusGatewayTimeout)
}

// callHTTP passes a request to its function in the way host.json says.
func (h *Host) callHTTP(w http.ResponseWriter, r *http.Request, f *function, params object) {
	worker := h.instances(f.name)[0].w
	inv := invocation{f: f, reason: "This function was programmatically called via the host APIs.", trace: r.Header.Get("Traceparent")}
	call := h.envelopeCall(w, r, params, worker)
	switch {
	case f.out != "" && h.options.proxy:
		call = h.proxyCall(w, r, worker)
	case f.out != "" && h.options.forward:
		call = h.forwardCall(w, r, worker)
	}
	err := worker.run(h.ctx, inv, call)
	if errors.Is(err, errCut) {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError) // when nothing was written yet
	}
}

// errCut says that a handler's answer broke off after its header had been passed on.
var errCut = errors.New("answer was cut short")

type httpCall = func(context.Context, *process, invocation) error

// forwardCall copies the request to the handler and its answer back. A body without Content-Length is
// dropped. Whatever the handler answers is a success.
func (h *Host) forwardCall(w http.ResponseWriter, r *http.Request, worker *worker) httpCall {
	return func(ctx context.Context, _ *process, inv invocation) error {
		var body io.Reader
		if r.ContentLength > 0 {
			body = r.Body
		}
		out, err := http.NewRequestWithContext(ctx, r.Method, worker.url(r.URL.RequestURI()), body)
		if err != nil {
			return err
		}
		if body != nil {
			out.ContentLength = r.ContentLength
		}
		out.Header = r.Header.Clone()
		dropHops(out.Header)
		h.mark(out, inv)
		resp, err := worker.client.Do(out)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		dropHops(resp.Header)
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		return nil
	}
}

func dropHops(h http.Header) {
	for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection"} {
		h.Del(name)
	}
}

// proxyCall streams the request to the handler and its answer back.
func (h *Host) proxyCall(w http.ResponseWriter, r *http.Request, worker *worker) httpCall {
	return func(ctx context.Context, _ *process, inv invocation) (err error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := context.AfterFunc(r.Context(), cancel)
		defer stop()
		target, _ := url.Parse(worker.url(""))
		p := &httputil.ReverseProxy{
			Transport:     worker.client.Transport,
			FlushInterval: -1,
			ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what matters is in the invocation's error
			Rewrite: func(pr *httputil.ProxyRequest) {
				pr.SetURL(target)
				for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
					if v, ok := pr.In.Header[name]; ok {
						pr.Out.Header[name] = v
					}
				}
				h.mark(pr.Out, inv)
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, e error) {
				err = e
				w.WriteHeader(http.StatusBadGateway)
			},
		}
		defer func() {
			if recover() != nil {
				err = errCut
			}
		}()
		// with its server in the context, the proxy panics when an answer breaks off
		ctx = context.WithValue(ctx, http.ServerContextKey, r.Context().Value(http.ServerContextKey))
		p.ServeHTTP(w, r.WithContext(ctx))
		return err
	}
}

// envelopeCall posts the request as an envelope and makes the answer of what the function put out.
func (h *Host) envelopeCall(w http.ResponseWriter, r *http.Request, params object, worker *worker) httpCall {
	return func(ctx context.Context, _ *process, inv invocation) error {
		req, err := requestObject(r, params)
		if err != nil {
			return err
		}
		meta := object{"Query": req["Query"], "Headers": req["Headers"]}
		for k, v := range params {
			meta[k] = v
		}
		out, err := worker.post(ctx, inv, h.newEnvelope(inv.f, req, meta))
		if err != nil {
			return err
		}
		return answer(w, inv.f, out)
	}
}

// requestObject is the value of an http trigger. A body is there only with a Content-Length.
func requestObject(r *http.Request, params object) (object, error) {
	query := object{}
	for k, v := range r.URL.Query() {
		query[k] = strings.Join(v, ",")
	}
	headers := object{"Host": []string{r.Host}}
	for k, v := range r.Header {
		headers[k] = v
	}
	req := object{
		"Url": "http://" + r.Host + r.URL.RequestURI(), "Method": r.Method, "Query": query, "Headers": headers, "Params": params,
		"Identities": []object{{
			"AuthenticationType": nil, "IsAuthenticated": false, "Actor": nil, "BootstrapContext": nil, "Claims": []object{}, "Label": nil, "Name": nil,
			"NameClaimType": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
			"RoleClaimType": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
		}},
	}
	if r.ContentLength <= 0 {
		return req, nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if t == "application/octet-stream" || strings.HasPrefix(t, "multipart/") {
		req["Body"] = base64.StdEncoding.EncodeToString(b)
	} else {
		req["Body"] = strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return req, nil
}

// httpOutput is the value of an http output binding.
type httpOutput struct {
	StatusCode, Status, Body any
	Headers                  map[string]any
}

// answer writes what the function put out. A named output must be an object; status and headers count only
// beside a body. $return may be anything, and a string of valid base64 is decoded.
func answer(w http.ResponseWriter, f *function, out outcome) error {
	switch raw, there := out.Outputs[f.out]; {
	case f.out == "":
		return nil
	case f.out == "$return":
		return answerReturn(w, out.ReturnValue)
	case out.Outputs == nil:
		return nil
	case !there:
		return writeText(w, "{}")
	default:
		return answerObject(w, raw)
	}
}

func answerObject(w http.ResponseWriter, raw json.RawMessage) error {
	var inner string
	if json.Unmarshal(raw, &inner) == nil {
		raw = json.RawMessage(inner)
	}
	var o httpOutput
	if err := json.Unmarshal(raw, &o); err != nil {
		return errors.New("Failed while trying to Deserialize to httpOutputBindingResponse. Output is not in expected format") //nolint:staticcheck // the host's words
	}
	if o.Body == nil {
		return writeText(w, encode(o))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		w.Header().Set(name, fmt.Sprint(o.Headers[name]))
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(statusOf(o))
	return writeText(w, text(o.Body))
}

func statusOf(o httpOutput) int {
	for _, v := range []any{o.StatusCode, o.Status} {
		if n, err := strconv.Atoi(fmt.Sprint(v)); err == nil && n >= 100 && n <= 999 {
			return n
		}
	}
	return http.StatusOK
}

func answerReturn(w http.ResponseWriter, raw json.RawMessage) error {
	var s string
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &s) != nil {
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
			return answerObject(w, raw)
		}
		return writeText(w, string(raw))
	}
	if b, err := base64.StdEncoding.DecodeString(s); err == nil {
		s = string(b)
	}
	return writeText(w, s)
}

// text is a body as the host writes it: a string as it is, anything else as JSON.
func text(body any) string {
	if s, ok := body.(string); ok {
		return s
	}
	b, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		return ""
	}
	return string(b)
}

func writeText(w http.ResponseWriter, s string) error {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_, err := io.WriteString(w, s)
	return err
}
