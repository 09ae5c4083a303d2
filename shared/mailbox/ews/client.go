package ews

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/pace"
)

// Account is a service account; see [login.Account]. Its password prints as ***.
type Account = login.Account

// Concurrency is EWSMaxConcurrency of Exchange 2013 and later: requests under way per calling account
// (https://learn.microsoft.com/exchange/client-developer/exchange-web-services/ews-throttling-in-exchange).
const Concurrency = 27

// Options say where Exchange is and how to call it.
type Options struct {
	URL           string       // https://mail.corp.test/EWS/Exchange.asmx
	Accounts      []Account    // at least one
	Auth          login.Scheme // "ntlm" (the default) or "basic"
	TLS           *tls.Config  // nil means the system's certificates
	AllowHTTP     bool         // permits a URL without TLS to another host than this one
	MaxConcurrent int          // requests under way per account; 0 means [Concurrency]
	// Patience is how long a request waits for an account that is held back, before it ends in a
	// *mailbox.Throttled; 0 means 5 s, below 0 never.
	Patience time.Duration
	Clock    clockwork.Clock // nil means the real one
	Log      *slog.Logger    // nil means none
}

// Client opens the mailboxes of one Exchange. It is safe for concurrent use and a mailbox.Sources.
type Client struct {
	o        Options
	accounts []*account
}

// New checks the options. It sends nothing.
func New(o Options) (*Client, error) {
	if err := checkURL(o.URL, o.AllowHTTP); err != nil {
		return nil, err
	}
	if o.Auth == "" {
		o.Auth = login.NTLM
	}
	if o.Auth != login.NTLM && o.Auth != login.Basic {
		return nil, fmt.Errorf("ews auth %q: want %q or %q", o.Auth, login.NTLM, login.Basic)
	}
	if len(o.Accounts) == 0 {
		return nil, errors.New("ews accounts: none given, want at least one service account")
	}
	c := &Client{o: withDefaults(o)}
	for i, a := range o.Accounts {
		if a.User == "" || a.Password == "" {
			return nil, fmt.Errorf("ews account %d: user or password is empty", i+1)
		}
		c.accounts = append(c.accounts, &account{Account: a, slots: pace.NewSlots(c.o.MaxConcurrent), clock: c.o.Clock})
	}
	return c, nil
}

func withDefaults(o Options) Options {
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = Concurrency
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// checkURL keeps passwords and mail off the open network.
func checkURL(s string, allowHTTP bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("ews url: want https://host/EWS/Exchange.asmx, without user and password")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme == "https" || u.Scheme == "http" && (allowHTTP || local) {
		return nil
	}
	return fmt.Errorf("ews url: scheme %q, want https", u.Scheme)
}

// Source opens a mailbox by its SMTP address and checks that it is there. Which account serves it depends only on
// the address and the accounts, not on their order.
func (c *Client) Source(ctx context.Context, address string) (mailbox.Source, error) {
	return c.Open(ctx, address)
}

// Open is Source with the methods that only EWS has.
func (c *Client) Open(ctx context.Context, address string) (*Source, error) {
	if !plausible(address) {
		return nil, fmt.Errorf("open mailbox: %w: not an SMTP address", mailbox.ErrNoMailbox)
	}
	s, err := c.open(ctx, address)
	var alias *aliasError
	if errors.As(err, &alias) && plausible(alias.primary) && !strings.EqualFold(alias.primary, address) {
		c.o.Log.InfoContext(ctx, "mailbox was asked for by an alias, using its primary address")
		s, err = c.open(ctx, alias.primary)
	}
	if err != nil {
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	return s, nil
}

func (c *Client) open(ctx context.Context, address string) (*Source, error) {
	a := c.account(address)
	client, err := c.httpClient(a)
	if err != nil {
		return nil, err
	}
	s := &Source{o: &c.o, account: a, address: address, http: client, sizes: newSizes()}
	s.root, err = s.findRoot(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Account says which account serves a mailbox, by a name that does not tell the user, and returns its fence: that is up
// while Exchange wants no requests of the account. Raise it to pass on what another instance was told.
func (c *Client) Account(address string) (name string, fence *pace.Fence) {
	a := c.account(address)
	return "ews-" + mailbox.Fingerprint(a.Domain, a.User), &a.fence
}

// account picks by rendezvous hashing: the account with the highest hash together with the address, so that adding
// one moves only the mailboxes that it takes.
func (c *Client) account(address string) *account {
	var best *account
	var most uint64
	for _, a := range c.accounts {
		h := fnv.New64a()
		_, _ = io.WriteString(h, strings.ToLower(address)+"\x00"+strings.ToLower(a.Domain+`\`+a.User))
		if sum := mixed(h.Sum64()); best == nil || sum > most {
			best, most = a, sum
		}
	}
	return best
}

// mixed spreads the last bytes over the whole number, which FNV does not; the constants are those of MurmurHash3's
// finalizer.
func mixed(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// httpClient has its own connections and cookies: both tie a mailbox to the server that holds it.
func (c *Client) httpClient(a *account) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("make cookie jar: %w", err)
	}
	signed := &login.Lanes{Account: a.Account, Scheme: c.o.Auth, TLS: c.o.TLS}
	heed := pace.Heed{Fence: &a.fence, By: throttledBy, Clock: c.o.Clock, Next: signed}
	gate := pace.Gate{Fence: &a.fence, Patience: max(c.o.Patience, 0), Clock: c.o.Clock, Next: heed}
	retry := pace.Retry{Idempotent: always, Clock: c.o.Clock, Next: a.slots.Limit(gate)}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: retry, Jar: jar, CheckRedirect: stay}, nil
}

func always(*http.Request) bool { return true }

// plausible keeps what is no address out of headers and XML; Exchange decides the rest.
func plausible(address string) bool {
	return len(address) <= 320 && strings.Contains(address, "@") &&
		strings.IndexFunc(address, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) < 0
}
