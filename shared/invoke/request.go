package invoke

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Names of the bindings of an HTTP function in its function.json.
const (
	in  = "req"
	out = "res"
)

// prefix is the host's default routePrefix.
const prefix = "api"

// Request registers h for a function with an httpTrigger named req and an http output named res. The route
// is written as in function.json ("waves/{wave}", "files/{*path}"), with a method before it when two
// functions share a route ("POST waves"); r.PathValue gives its parameters.
//
// h is served whichever way the host passes HTTP on: as an envelope posted to /{function}, where an answer
// must be text, or forwarded to /api/{route}. The host has checked the key and the method before.
func (m *Mux) Request(function, route string, h http.Handler) {
	r := parseRoute(function, route, h)
	for _, other := range m.routes {
		if other.pattern() == r.pattern() {
			panic("invoke: route registered twice: " + route)
		}
	}
	m.routes = append(m.routes, r)
	m.add(function, func(w http.ResponseWriter, r *http.Request) {
		m.invoke(w, r, &line{Function: function}, func(l *line) (any, error) { return enveloped(r, h, l) })
	})
}

// direct serves a request that the host has forwarded as it came.
func (m *Mux) direct(w http.ResponseWriter, r *http.Request, path string) {
	allowed := false
	for _, route := range m.routes {
		params, ok := route.match(path)
		if !ok {
			continue
		}
		if route.method != "" && route.method != r.Method {
			w.Header().Add("Allow", route.method)
			allowed = true
			continue
		}
		w.Header().Del("Allow")
		for name, v := range params {
			r.SetPathValue(name, v)
		}
		m.forwarded(w, r, route)
		return
	}
	if allowed {
		writeError(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	writeError(w, http.StatusNotFound, "no such function or route")
}

func (m *Mux) forwarded(w http.ResponseWriter, r *http.Request, route route) {
	start, l, sw := m.clock.Now(), &line{Function: route.function}, &statusWriter{ResponseWriter: w}
	_, err := recovered(l, func(*line) (any, error) {
		route.h.ServeHTTP(sw, r)
		return nil, nil
	})
	cut := err != nil && sw.status != 0
	if err != nil && !cut {
		writeError(sw, http.StatusInternalServerError, err.Error())
	}
	l.Status = max(sw.status, http.StatusOK)
	m.report(r.Context(), l, m.clock.Since(start), err)
	if cut {
		panic(http.ErrAbortHandler) // an answer cut short must not look whole
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach Flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// response is the value of an http output binding. The host honours status and headers only beside a body.
type response struct {
	Status  int               `json:"statusCode"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// enveloped serves h with the request inside r's envelope and returns what the host makes the answer of.
func enveloped(r *http.Request, h http.Handler, l *line) (any, error) {
	e, err := readEnvelope(r, maxRequest)
	if err != nil {
		return nil, malformed(err)
	}
	inner, err := e.request(r)
	if err != nil {
		return nil, malformed(err)
	}
	w := &recorder{header: http.Header{}}
	h.ServeHTTP(w, inner)
	l.Status = max(w.status, http.StatusOK)
	a := response{Status: l.Status, Headers: map[string]string{}, Body: w.body.String()}
	if !utf8.ValidString(a.Body) {
		return nil, errors.New("answer is not text, which is all that an envelope can carry")
	}
	for name, v := range w.header {
		a.Headers[name] = strings.Join(v, ", ")
	}
	return map[string]any{"Outputs": map[string]any{out: a}}, nil
}

// recorder is the http.ResponseWriter behind an envelope.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// request rebuilds the HTTP request that the envelope describes, in the context of outer.
func (e envelope) request(outer *http.Request) (*http.Request, error) {
	v, ok := e.Data[in]
	if !ok {
		return nil, fmt.Errorf("Data.%s: missing", in)
	}
	var t struct {
		URL     string `json:"Url"`
		Method  string
		Headers map[string][]string
		Params  map[string]any
		Body    json.RawMessage
	}
	if err := json.Unmarshal(v, &t); err != nil {
		return nil, fmt.Errorf("Data.%s: %w", in, err)
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fmt.Errorf("Data.%s.Url: not a URL", in)
	}
	header := http.Header{}
	for name, v := range t.Headers {
		header[http.CanonicalHeaderKey(name)] = v
	}
	body, err := requestBody(t.Body, header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("Data.%s.Body: %w", in, err)
	}
	r, err := http.NewRequestWithContext(outer.Context(), t.Method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("Data.%s.Method: not a method", in)
	}
	r.Header, r.Host, r.RequestURI = header, u.Host, u.RequestURI()
	for name, v := range t.Params {
		if s, ok := v.(string); ok {
			r.SetPathValue(name, s)
		}
	}
	return r, nil
}

// requestBody reads the body of an enveloped request: text as it is, anything else by its type in base64.
func requestBody(v json.RawMessage, contentType string) (string, error) {
	if len(v) == 0 || string(v) == "null" {
		return "", nil
	}
	if v[0] != '"' {
		return string(v), nil // some hosts embed a JSON body as it is
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", err
	}
	t, _, _ := mime.ParseMediaType(contentType)
	if t == "application/octet-stream" || strings.HasPrefix(t, "multipart/") {
		b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, strings.NewReader(s)))
		return string(b), err
	}
	return s, nil
}

// route is one route of an HTTP function below the prefix.
type route struct {
	function, method string
	segments         []string // literals, or {name}, {name?}, {*name}
	h                http.Handler
}

func parseRoute(function, text string, h http.Handler) route {
	r := route{function: function, h: h}
	if method, rest, ok := strings.Cut(text, " "); ok {
		r.method, text = method, rest
	}
	r.segments = strings.Split(prefix+"/"+strings.Trim(text, "/"), "/")
	for i, s := range r.segments {
		open := strings.Contains(s, "*") || strings.Contains(s, "?")
		if param(s) == "" && strings.ContainsAny(s, "{}*? ") || open && i < len(r.segments)-1 {
			panic("invoke: route not understood: " + text)
		}
	}
	return r
}

// param returns the name of the parameter that a segment is, "" for a literal. A constraint after a colon
// is the host's to check.
func param(segment string) string {
	name, ok := strings.CutPrefix(segment, "{")
	if !ok || !strings.HasSuffix(name, "}") {
		return ""
	}
	name, _, _ = strings.Cut(strings.TrimSuffix(name, "}"), ":")
	name = strings.TrimSuffix(strings.TrimLeft(name, "*"), "?")
	if strings.ContainsAny(name, "{}*?=") {
		return ""
	}
	return name
}

func (r route) pattern() string {
	p := r.method
	for _, s := range r.segments {
		if param(s) != "" {
			s = "{}"
		}
		p += "/" + strings.ToLower(s)
	}
	return p
}

// match compares as the host's router does: literals without regard to case, one slash at the end ignored.
func (r route) match(path string) (map[string]string, bool) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	params := map[string]string{}
	for i, s := range r.segments {
		name := param(s)
		if strings.HasPrefix(s, "{*") {
			rest, err := url.PathUnescape(strings.Join(parts[min(i, len(parts)):], "/"))
			params[name] = rest
			return params, err == nil
		}
		if i >= len(parts) {
			return params, strings.HasSuffix(s, "?}") && i == len(r.segments)-1
		}
		v, err := url.PathUnescape(parts[i])
		if err != nil || v == "" || name == "" && !strings.EqualFold(v, s) {
			return nil, false
		}
		if name != "" {
			params[name] = v
		}
	}
	return params, len(parts) == len(r.segments)
}
