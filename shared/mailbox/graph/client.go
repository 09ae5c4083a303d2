package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jonboulle/clockwork"
	absauth "github.com/microsoft/kiota-abstractions-go/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/pace"
)

const (
	publicBase = "https://graph.microsoft.com/v1.0"
	// scope is explicit because the SDK otherwise makes one of the URL's host.
	scope = "https://graph.microsoft.com/.default"
	// idle is how long a mailbox nobody opened stays known, with its fence and session. Deliveries are shorter.
	idle = time.Hour
	// known is how many mailboxes may be known before the idle ones are forgotten.
	known = 256
)

// Options say where Graph is and how to behave. Only Credential is required.
type Options struct {
	BaseURL    string                 // with the version; "" = https://graph.microsoft.com/v1.0. Plain http only on loopback
	Credential azcore.TokenCredential // of an app; which permissions each call needs stands in its ErrAccess
	Clock      clockwork.Clock        // nil = the real one
	Log        *slog.Logger           // nil = silent
	Transport  http.RoundTripper      // below everything, for tracing or tests; nil = a transport of its own
	PageSize   int                    // items and folders per page, 2 at least; 0 = 500
	Patience   time.Duration          // longest wait for a throttle to end before mailbox.Throttled; 0 = 5 s, negative = none
}

// Client opens mailboxes with one app registration. It is safe for concurrent use.
type Client struct {
	base     *url.URL
	auth     absauth.AuthenticationProvider
	clock    clockwork.Clock
	log      *slog.Logger
	next     http.RoundTripper
	page     int
	patience time.Duration
	app      pace.Fence // the limit that all mailboxes share: 130,000 requests in 10 s per app

	mu        sync.Mutex
	lines     map[string]*line    // by address in lower case
	mailboxes map[string]*Mailbox // by mailbox id, so that everyone who opens one shares its limits and session
}

// New returns a client. It sends nothing yet.
func New(o Options) (*Client, error) {
	base, err := checkedBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	if o.Credential == nil {
		return nil, errors.New("graph: no credential")
	}
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(
		tagged{o.Credential}, []string{scope}, []string{base.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("prepare authentication: %w", err)
	}
	c := &Client{base: base, auth: auth, clock: o.Clock, log: o.Log, next: o.Transport,
		page: o.PageSize, patience: o.Patience, lines: map[string]*line{}, mailboxes: map[string]*Mailbox{}}
	c.defaults()
	return c, nil
}

func (c *Client) defaults() {
	if c.clock == nil {
		c.clock = clockwork.NewRealClock()
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.next == nil {
		c.next = newTransport()
	}
	switch {
	case c.page == 1:
		c.page = 2 // a page of one item cannot begin with the last one of the page before
	case c.page <= 0:
		c.page = 500
	}
	if c.patience == 0 {
		c.patience = 5 * time.Second
	}
}

// checkedBase refuses what the SDK would send without a token and without an error: plain http to other hosts.
func checkedBase(s string) (*url.URL, error) {
	if s == "" {
		s = publicBase
	}
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("graph: the base URL needs the form https://host/version")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return u, nil
	}
	return nil, fmt.Errorf("graph: base URL with scheme %q: use https, or http on 127.0.0.1, localhost or ::1", u.Scheme)
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "localhost" || host == "::1" }

// Target opens the mailbox of an address; it implements [mailbox.Targets]. What it returns is a [*Mailbox].
func (c *Client) Target(ctx context.Context, address string) (mailbox.Target, error) {
	m, err := c.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// App names the app registration by whose requests Graph counts, and returns its fence: that is up while Graph wants no
// requests of the app, whatever the mailbox. Raise it to pass on what another instance was told.
func (c *Client) App() (name string, fence *pace.Fence) { return "graph-app", &c.app }

// Open finds the primary mailbox of an address. mailbox.ErrNoMailbox when there is none in Exchange Online.
func (c *Client) Open(ctx context.Context, address string) (*Mailbox, error) {
	if address == "" {
		return nil, fmt.Errorf("open mailbox: no address: %w", mailbox.ErrNoMailbox)
	}
	var found struct {
		ID string `json:"primaryMailboxId"`
	}
	l, err := c.lineTo(address)
	if err != nil {
		return nil, err
	}
	err = l.fetch(ctx, ask{path: "/users/{user}/settings/exchange", with: map[string]string{"user": address},
		needs: "User.Read.All", absent: mailbox.ErrNoMailbox}, &found)
	if err != nil {
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	if found.ID == "" {
		return nil, fmt.Errorf("open mailbox: no primaryMailboxId: %w", mailbox.ErrNoMailbox)
	}
	return c.mailbox(found.ID, address, l), nil
}

// lineTo is the line to an address. Finding the mailbox already counts against the mailbox's limits.
func (c *Client) lineTo(address string) (*line, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, now := strings.ToLower(address), c.clock.Now()
	if l, ok := c.lines[key]; ok {
		l.used = now
		return l, nil
	}
	c.forget(now)
	l, err := c.newLine()
	if err != nil {
		return nil, err
	}
	l.used = now
	c.lines[key] = l
	return l, nil
}

// mailbox is the mailbox with this id. Its line is that of the address by which it was found first; other addresses
// of it share that line from now on.
func (c *Client) mailbox(id, address string, l *line) *Mailbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.mailboxes[id]
	if !ok {
		m = &Mailbox{line: l, id: id, sessions: make(chan *session, 1)}
		m.sessions <- nil
		c.mailboxes[id] = m
	}
	m.used = c.clock.Now()
	c.lines[strings.ToLower(address)] = m.line
	return m
}

// forget drops what was not opened for long, so that a process which lives for weeks does not remember all it ever
// opened.
func (c *Client) forget(now time.Time) {
	if len(c.lines) < known {
		return
	}
	for address, l := range c.lines {
		if now.Sub(l.used) > idle {
			delete(c.lines, address)
		}
	}
	for id, m := range c.mailboxes {
		if now.Sub(m.used) > idle {
			delete(c.mailboxes, id)
		}
	}
}

// Mailbox is one mailbox in Exchange Online. It implements [mailbox.Target] and is safe for concurrent use; all who
// open the same mailbox through a Client share it, and so its limits.
type Mailbox struct {
	*line
	id       string
	sessions chan *session // holds the import session, or nil; whoever has taken it out may renew it
	rootID   atomic.Value  // string, the visible root's id once Folders has learned it
	sizes    sizes
}

func (m *Mailbox) path(p string) string { return "/admin/exchange/mailboxes/{mailbox}" + p }

// with are the path parameters of a request on this mailbox: pairs of name and value.
func (m *Mailbox) with(pairs ...string) map[string]string {
	p := map[string]string{"mailbox": m.id}
	for i := 0; i+1 < len(pairs); i += 2 {
		p[pairs[i]] = pairs[i+1]
	}
	return p
}
