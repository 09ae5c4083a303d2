package graph

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"time"

	absser "github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	jsonser "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"golang.org/x/net/publicsuffix"

	"github.com/mailferry/mailferry/shared/pace"
)

const (
	// concurrent requests per app and mailbox, https://learn.microsoft.com/graph/throttling-limits (Outlook).
	concurrent = 4
	// silence is how long a request may stand still, in either direction, before it is broken off.
	silence = 3 * time.Minute
	// attempts of a request that may be repeated.
	attempts = 4
)

// line is the way to one mailbox, from finding it on: what the service throttles together.
type line struct {
	client    *Client
	adapter   *core.GraphRequestAdapterBase
	plain     *http.Client // no token of its own, follows no redirects, shares cookies and limits with the adapter
	fence     pace.Fence
	used      time.Time    // when it was asked for last; guarded by Client.mu
	throttles atomic.Int32 // refusals without Retry-After in a row
}

func (c *Client) newLine() (*line, error) {
	l := &line{client: c}
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		return nil, fmt.Errorf("make cookie jar: %w", err)
	}
	transport := l.transport()
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	l.plain = &http.Client{Transport: transport, Jar: jar, CheckRedirect: stay}
	signed := &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(capped{transport}, middleware()...),
		Jar: jar, CheckRedirect: stay}
	l.adapter, err = core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		c.auth, core.GraphClientOptions{}, jsonNodes(), nil, signed)
	if err != nil {
		return nil, fmt.Errorf("make request adapter: %w", err)
	}
	l.adapter.SetBaseUrl(c.base.String())
	return l, nil
}

// middleware is the SDK's list without Retry and Compression: in their random order, a repeated request can carry
// a plain body labelled gzip. Repeating is done by this package.
func middleware() []khttp.Middleware {
	return []khttp.Middleware{
		core.NewGraphTelemetryHandler(&core.GraphClientOptions{}),
		khttp.NewUrlReplaceHandler(true, core.ReplacementPairs),
		khttp.NewRedirectHandler(),
		khttp.NewParametersNameDecodingHandler(),
		khttp.NewUserAgentHandler(),
		khttp.NewHeadersInspectionHandler(),
	}
}

// jsonNodes is a registry of its own, so that nothing global is changed.
func jsonNodes() absser.ParseNodeFactory {
	r := absser.NewParseNodeFactoryRegistry()
	r.ContentTypeAssociatedFactories["application/json"] = jsonser.NewJsonParseNodeFactory()
	return r
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

func (l *line) transport() http.RoundTripper {
	c := l.client
	patience := max(c.patience, 0)
	var rt http.RoundTripper = stall{after: silence, clock: c.clock, next: c.next}
	rt = tame{rt}
	rt = heed{l, rt}
	rt = pace.Gate{Fence: &c.app, Patience: patience, Clock: c.clock, Next: rt}
	rt = pace.Gate{Fence: &l.fence, Patience: patience, Clock: c.clock, Next: rt}
	return pace.Limit(concurrent, rt)
}

// heed raises the fence an answer asks for.
type heed struct {
	line *line
	next http.RoundTripper
}

func (h heed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		h.line.hold(resp.Header)
	case resp.StatusCode < http.StatusInternalServerError:
		h.line.throttles.Store(0)
	}
	return resp, nil
}

// hold keeps this line back as long as the answer asks for, or twice as long each time it does not say. All lines
// are kept back when the answer names the app as what is over its limit: x-ms-throttle-scope begins with
// "Application" or "Tenant" then, and is absent for a mailbox's own limits.
func (l *line) hold(h http.Header) {
	now := l.client.clock.Now()
	until, ok := pace.RetryAfter(h, now)
	if !ok {
		until = now.Add(backoff(int(l.throttles.Add(1))))
	}
	scope, _, _ := strings.Cut(h.Get("x-ms-throttle-scope"), "/")
	if strings.HasPrefix(scope, "Application") || strings.HasPrefix(scope, "Tenant") {
		l.client.app.Raise(until, "graph app")
		return
	}
	l.fence.Raise(until, "graph mailbox")
}

// backoff is 1 s after the first failure, twice as long after each further one, at most a minute; each less up to
// half at random, so that many callers do not come back together.
func backoff(n int) time.Duration {
	d := min(time.Second<<min(n-1, 10), time.Minute)
	return d - rand.N(d/2)
}

// raised is the later of the two fences that this line obeys.
func (l *line) raised() (time.Time, string) {
	until, by := l.fence.Until()
	if app, appBy := l.client.app.Until(); app.After(until) {
		return app, appBy
	}
	return until, by
}
