package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// front stands between the handler and storage and breaks requests on purpose.
type front struct {
	hit  func(string)
	kill func() // kill -9 of the workers

	mu    sync.Mutex
	armed []strike
}

// strike is what the next request of a kind meets.
type strike struct {
	on   string // ledger write, ledger read, staging block, blob write, blob read
	harm kind
}

// strikes are those that make sense.
var strikes = []strike{
	{"ledger write", killBefore}, {"ledger write", killAfter}, {"ledger write", lostAnswer}, {"ledger write", unavailable},
	{"ledger write", throttled}, {"ledger write", conflict}, {"ledger read", unavailable}, {"ledger read", throttled},
	{"staging block", killBefore}, {"staging block", killAfter}, {"staging block", lostAnswer}, {"staging block", throttled},
	{"blob write", killAfter}, {"blob write", lostAnswer}, {"blob write", unavailable}, {"blob read", unavailable}, {"blob read", throttled},
	{"ledger write", conflict}, {"ledger write", killBefore}, {"staging block", killBefore}, {"staging block", killAfter}, {"blob write", killAfter},
}

// arm arms one of the strikes.
func (f *front) arm(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = append(f.armed, strikes[r.IntN(len(strikes))])
}

// disarm forgets what has not struck.
func (f *front) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = nil
}

func (f *front) take(r *http.Request, on string) kind {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.armed {
		if s.on == on && (s.harm != conflict || r.Header.Get("If-Match") != "") {
			f.armed = append(f.armed[:i], f.armed[i+1:]...)
			f.hit("process: " + string(s.harm) + " " + on)
			return s.harm
		}
	}
	return ""
}

var endpoint = regexp.MustCompile(`(Blob|Table)Endpoint=(http://[^/;]+)`)

// open serves the endpoints of a connection string until ctx is over and returns the connection string to them.
func (f *front) open(ctx context.Context, storage string) (string, error) {
	var err error
	through := endpoint.ReplaceAllStringFunc(storage, func(s string) string {
		part := endpoint.FindStringSubmatch(s)
		address, listenErr := f.serve(ctx, part[2], part[1] == "Table")
		if listenErr != nil {
			err = listenErr
		}
		return part[1] + "Endpoint=" + address
	})
	return through, err
}

func (f *front) serve(ctx context.Context, to string, table bool) (string, error) {
	target, err := url.Parse(to)
	if err != nil {
		return "", fmt.Errorf("read storage address: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen in front of storage: %w", err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.pass(w, r, table, proxy)
	})}
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return "http://" + l.Addr().String(), nil
}

func (f *front) pass(w http.ResponseWriter, r *http.Request, table bool, to http.Handler) {
	switch harm := f.take(r, operation(r, table)); harm {
	case "":
		to.ServeHTTP(w, r)
	case unavailable:
		panic(http.ErrAbortHandler)
	case throttled:
		refuse(w, http.StatusServiceUnavailable, "ServerBusy", "The server is busy.")
	case conflict:
		refuse(w, http.StatusPreconditionFailed, "UpdateConditionNotSatisfied", "The update condition specified in the request was not satisfied.")
	case killBefore:
		f.kill()
		panic(http.ErrAbortHandler)
	default: // carried out, and nobody learns it
		to.ServeHTTP(nowhere{http.Header{}}, r)
		if harm == killAfter {
			f.kill()
		}
		panic(http.ErrAbortHandler)
	}
}

// operation names what a request is.
func operation(r *http.Request, table bool) string {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case table && read:
		return "ledger read"
	case table:
		return "ledger write"
	case read:
		return "blob read"
	case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/staging/"):
		return "staging block"
	}
	return "blob write"
}

// refuse answers as Table storage does; Blob storage's clients look at the header alone.
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json;odata=minimalmetadata")
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"odata.error":{"code":%q,"message":{"lang":"en-US","value":%q}}}`, code, text)
}

// nowhere is an answer that nobody gets.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header       { return n.h }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}
