package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/config"
	"github.com/mailferry/mailferry/shared/submitter"
)

// patience is how long one call may take: Azure's front end gives up after 230 seconds.
const patience = 4 * time.Minute

// maxAnswer is above the status of a wave of 100,000 mailboxes and above any receipt.
const maxAnswer = 256 << 20

// client calls the app's HTTP functions.
type client struct {
	base       string // without a slash at its end
	key, token config.Secret
	http       *http.Client
	clock      clockwork.Clock
}

// client opens the app that --url names.
func (a *app) client() (client, error) {
	base, err := baseURL(a.URL)
	if err != nil {
		return client{}, err
	}
	c := client{base: base, key: a.Key, token: a.Token, clock: a.clock, http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the key is for this host alone
	}}}
	return c, nil
}

// baseURL checks --url before the key is sent there.
func baseURL(given string) (string, error) {
	if given == "" {
		return "", badArgs("where is the app? Give --url https://NAME.azurewebsites.net or set FERRY_URL")
	}
	u, err := url.Parse(strings.TrimSuffix(strings.TrimRight(given, "/"), "/api"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", badArgs("--url: want an address like https://NAME.azurewebsites.net")
	case u.RawQuery != "" || u.User != nil || u.Fragment != "":
		return "", badArgs("--url: leave out what follows the path; give the key as FERRY_KEY")
	case u.Scheme == "http" && !local(u.Hostname()):
		return "", badArgs("--url: use https; over http anyone on the way could read the key")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// request is one call: a body is sent with POST.
type request struct {
	method, path string
	body         []byte
	kind         string // of the body
}

// open calls the app and returns the answer if it is a good one. The caller closes its body.
func (c client) open(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("call the app: %w", err)
	}
	req.Header.Set("User-Agent", "ferry/"+version())
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if c.key != "" {
		req.Header.Set("x-functions-key", c.key.Reveal())
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &callError{cause: err, host: req.URL.Host}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// call calls the app, reads the answer into v unless that is nil, and returns it as it came.
func (c client) call(ctx context.Context, r request, v any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := c.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &callError{cause: err, host: resp.Request.URL.Host}
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("the app's answer to %s is larger than %d MiB", r.path, maxAnswer>>20)
	}
	if v == nil {
		return b, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, &callError{status: resp.StatusCode, host: resp.Request.URL.Host}
	}
	return b, nil
}

// get is call for a GET.
func (c client) get(ctx context.Context, path string, v any) ([]byte, error) {
	return c.call(ctx, request{method: http.MethodGet, path: path}, v)
}

// again is get that makes up to four tries when a failure may pass: of the many calls of a report, one fails easily.
func (c client) again(ctx context.Context, path string, v any) error {
	for wait := time.Second; ; wait *= 2 {
		_, err := c.get(ctx, path, v)
		e, called := errors.AsType[*callError](err)
		if !called || !e.passing() || wait > 4*time.Second {
			return err
		}
		select {
		case <-c.clock.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// callError is a call that brought no good answer.
type callError struct {
	host   string
	status int    // of the answer, 0 when there was none
	said   string // what the app says is wrong, if it is the app that answered
	to     string // where it redirects
	wait   string // how many seconds it wants no calls, if it says so
	faults []submitter.Fault
	cause  error
}

func refusal(resp *http.Response) error {
	e := &callError{host: resp.Request.URL.Host, status: resp.StatusCode, to: resp.Header.Get("Location"), wait: resp.Header.Get("Retry-After")}
	var body struct {
		Error  string            `json:"error"`
		Faults []submitter.Fault `json:"faults"`
	}
	const enough = 1 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	if err == nil && json.Unmarshal(b, &body) == nil {
		e.said, e.faults = body.Error, body.Faults
	}
	return e
}

func (e *callError) Unwrap() error { return e.cause }

func (e *callError) Error() string {
	what, todo := e.explain()
	if todo == "" {
		return what
	}
	return what + "; " + todo
}

// passing says that the same call may well succeed soon.
func (e *callError) passing() bool {
	return e.status == http.StatusTooManyRequests || e.status >= 500 || e.status == 0 && !errors.Is(e.cause, context.Canceled)
}

// explain says what is wrong and what to do about it.
func (e *callError) explain() (what, todo string) {
	switch {
	case e.cause != nil:
		return e.unreached()
	case e.status == http.StatusUnauthorized:
		return "the app does not take the key (401)", "set FERRY_KEY to a key of the function app (Azure portal: App keys), or FERRY_TOKEN"
	case e.status == http.StatusForbidden && e.said == "":
		return "the app is not open to you (403)", "check its access restrictions, and whether it is stopped"
	case e.status == http.StatusTooManyRequests:
		return "the app has too many calls (429)", "try again in " + e.pause()
	case e.said != "":
		return clean(e.said), ""
	case e.status >= 300 && e.status < 400:
		return fmt.Sprintf("%s sends its callers elsewhere (%d)", e.host, e.status), "set FERRY_URL to the address it names: " + clean(e.to)
	case e.status == http.StatusNotFound || e.status < 300:
		return fmt.Sprintf("%s answers, but not as Mailferry does (%d)", e.host, e.status), "check FERRY_URL, and that the app is deployed"
	}
	return fmt.Sprintf("the app fails (%d)", e.status), "try again in a minute; if it goes on, look at the app's log"
}

// pause is how long to wait, in words.
func (e *callError) pause() string {
	if n, err := strconv.Atoi(e.wait); err == nil && n > 0 {
		return count(n, "second")
	}
	return "a minute"
}

func (e *callError) unreached() (what, todo string) {
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	switch {
	case errors.Is(e.cause, context.Canceled):
		return "interrupted", ""
	case errors.Is(e.cause, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer", e.host), "try again; if it goes on, look whether the app runs"
	case errors.As(e.cause, &name):
		return fmt.Sprintf("the name %s is not known", e.host), "check FERRY_URL and this machine's network"
	case errors.As(e.cause, &certificate):
		return fmt.Sprintf("%s has a certificate that this machine does not trust", e.host), "check FERRY_URL, and for a proxy that opens TLS"
	}
	reason := e.cause
	if u, ok := errors.AsType[*url.Error](e.cause); ok {
		reason = u.Err // its own text repeats the address
	}
	return fmt.Sprintf("%s cannot be reached: %v", e.host, reason), "check FERRY_URL, and that the app runs"
}

var idShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// wavePath is the path of a wave, or with a mailbox of one of its mailboxes.
func wavePath(wave, mailbox string) (string, error) {
	if !idShape.MatchString(wave) {
		return "", badArgs("WAVE: want an ID like w20261123-5f0c1a9be2d4, as ferry submit prints it")
	}
	path := "/api/waves/" + wave
	if mailbox == "" {
		return path, nil
	}
	if !idShape.MatchString(mailbox) {
		return "", badArgs("MAILBOX: want an ID like mqk2v7r0c1yx8n5jt3fzd, as ferry status %s lists it", wave)
	}
	return path + "/mailboxes/" + mailbox, nil
}
