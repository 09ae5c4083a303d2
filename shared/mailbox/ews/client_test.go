package ews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/pace"
)

var (
	_ mailbox.Source  = (*ews.Source)(nil)
	_ mailbox.Sources = (*ews.Client)(nil)
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	svc := []ews.Account{{User: "svc", Password: "secret"}}
	for _, test := range []struct {
		name string
		o    ews.Options
		want string
	}{
		{"no URL", ews.Options{Accounts: svc}, "ews url"},
		{"a URL with a password", ews.Options{URL: "https://svc:secret@mail.corp.test/", Accounts: svc}, "without user and password"},
		{"mail over the open network", ews.Options{URL: "http://mail.corp.test/", Accounts: svc}, `scheme "http", want https`},
		{"another scheme", ews.Options{URL: "ftp://mail.corp.test/", AllowHTTP: true, Accounts: svc}, `scheme "ftp"`},
		{"no accounts", ews.Options{URL: "https://mail.corp.test/"}, "at least one"},
		{"an account without password", ews.Options{URL: "https://mail.corp.test/", Accounts: []ews.Account{svc[0], {User: "b"}}}, "ews account 2"},
		{"another way to sign in", ews.Options{URL: "https://mail.corp.test/", Accounts: svc, Auth: "kerberos"}, `"kerberos": want "ntlm" or "basic"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ews.New(test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestPasswordsDoNotPrint(t *testing.T) {
	t.Parallel()
	a := ews.Account{User: "svc", Password: "secret"}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "account", a, "password", a.Password)
	for _, s := range []string{fmt.Sprint(a), fmt.Sprintf("%+v %#v %s %q", a, a, a.Password, a.Password), b.String()} {
		if strings.Contains(s, "secret") {
			t.Errorf("prints %s", s)
		}
	}
}

func TestRequestsCarryWhatExchangeWants(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	if _, err := x.client().Source(t.Context(), `o'neil&co"@corp.test`); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<t:RequestServerVersion Version="Exchange2013_SP1"/>`,
		`<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>o&#39;neil&amp;co&#34;@corp.test</t:PrimarySmtpAddress>`,
		`<t:TimeZoneContext><t:TimeZoneDefinition Id="UTC"/></t:TimeZoneContext>`,
		`<t:DistinguishedFolderId Id="msgfolderroot"/>`,
	} {
		if !strings.Contains(x.requests[0], want) {
			t.Errorf("request lacks %s:\n%s", want, x.requests[0])
		}
	}
	if h := x.headers[0]; h.Get("X-AnchorMailbox") != `o'neil&co"@corp.test` || h.Get("Content-Type") != "text/xml; charset=utf-8" {
		t.Errorf("headers %v", h)
	}
}

func TestCookiesComeBack(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	root := x.answer["GetFolder"]
	x.answer["GetFolder"] = func(w http.ResponseWriter, body string) {
		http.SetCookie(w, &http.Cookie{Name: "X-BackEndCookie", Value: "here", Path: "/"})
		root(w, body)
	}
	x.on("FindFolder", view("FindFolder", "Folders", 10, func(int) []string { return nil }))
	if _, err := x.open().Folders(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := x.headers[1].Get("Cookie"); got != "X-BackEndCookie=here" {
		t.Fatalf("second request has cookie %q", got)
	}
}

func TestOpenTranslatesErrors(t *testing.T) {
	t.Parallel()
	page := "<html><body>Outlook</body></html>"
	in := func(code string) string { return answered("GetFolder", refused("GetFolder", code)) }
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   error
		text   string
	}{
		{"unknown mailbox", 500, fault("ErrorNonExistentMailbox"), mailbox.ErrNoMailbox, "ErrorNonExistentMailbox"},
		{"unknown mailbox in a message", 200, in("ErrorNonExistentMailbox"), mailbox.ErrNoMailbox, "ErrorNonExistentMailbox"},
		{"outside the role's scope", 500, fault("ErrorImpersonateUserDenied"), mailbox.ErrAccess, "ErrorImpersonateUserDenied"},
		{"a fault in an answer of 200", 200, fault("ErrorImpersonateUserDenied"), mailbox.ErrAccess, ""},
		{"moving", 200, in("ErrorMailboxMoveInProgress"), mailbox.ErrUnavailable, "ErrorMailboxMoveInProgress"},
		{"store down", 200, in("ErrorMailboxStoreUnavailable"), mailbox.ErrUnavailable, ""},
		{"internal error", 500, fault("ErrorInternalServerError"), mailbox.ErrUnavailable, ""},
		{"500 without a fault", 500, page, mailbox.ErrUnavailable, "500 without a fault"},
		{"forbidden", 403, page, mailbox.ErrAccess, "403"},
		{"no EWS here", 404, page, nil, "check that the URL"},
		{"a page instead of SOAP", 200, page, nil, "not a SOAP envelope"},
		{"an empty answer", 200, "", nil, "not a SOAP envelope"},
		{"a redirection is not followed", 302, page, nil, "http status 302"},
		{"a code nobody knows", 200, in("ErrorSomethingNew"), nil, "exchange answers ErrorSomethingNew"},
		{"a code that is not a word", 200, in("user@corp.test"), nil, "an unreadable code"},
		{"an answer that breaks off", 200, in("NoError")[:500], mailbox.ErrUnavailable, ""},
		{"gateway timeout", 504, page, mailbox.ErrUnavailable, "504"},
		{"service unavailable", 503, page, mailbox.ErrUnavailable, "503"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.tick()
			x.fails("GetFolder", test.status, test.body)
			_, err := x.client().Source(t.Context(), "user@corp.test")
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v, want %v, %q", err, test.want, test.text)
			}
			for _, kind := range []error{mailbox.ErrNoMailbox, mailbox.ErrAccess, mailbox.ErrUnavailable} {
				if test.want == nil && errors.Is(err, kind) {
					t.Errorf("got %v, which is a %v", err, kind)
				}
			}
			if strings.Contains(err.Error(), "user@") || strings.Contains(err.Error(), "svc") {
				t.Errorf("error names someone: %v", err)
			}
		})
	}
}

func TestWhatIsNoAddressIsNotSent(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	for _, address := range []string{"", "user", "a@b\r\nX-Evil: 1", "a b@c", strings.Repeat("a", 400) + "@b"} {
		if _, err := x.client().Source(t.Context(), address); !errors.Is(err, mailbox.ErrNoMailbox) {
			t.Errorf("%q: got %v", address, err)
		}
	}
	if len(x.requests) > 0 {
		t.Errorf("sent %d requests", len(x.requests))
	}
}

func TestWrongPasswordIsTriedOnce(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	c := x.client(func(o *ews.Options) { o.Accounts[0].Password = "wrong" })
	_, err := c.Source(t.Context(), "user@corp.test")
	if !errors.Is(err, mailbox.ErrAccess) || !strings.Contains(err.Error(), "user name or password refused") {
		t.Fatalf("got %v", err)
	}
	if len(x.requests) != 1 {
		t.Fatalf("tried %d times: that locks accounts", len(x.requests))
	}
	c = x.client(func(o *ews.Options) { o.Auth = login.NTLM })
	if _, err := c.Source(t.Context(), "user@corp.test"); !errors.Is(err, mailbox.ErrAccess) || !strings.Contains(err.Error(), "does not offer sign-in by ntlm") {
		t.Fatalf("got %v", err)
	}
}

func TestAliasIsOpenedByItsPrimaryAddress(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.answer["GetFolder"] = func(w http.ResponseWriter, body string) {
		if strings.Contains(body, ">alias@corp.test<") {
			w.WriteHeader(500)
			w.Write([]byte(fault("ErrorNonPrimarySmtpAddress", "Primary", "user@corp.test")))
			return
		}
		w.Write([]byte(rootOnly(body)))
	}
	if _, err := x.client().Source(t.Context(), "alias@corp.test"); err != nil {
		t.Fatal(err)
	}
	if last := x.requests[len(x.requests)-1]; !strings.Contains(last, ">user@corp.test<") || x.headers[1].Get("X-AnchorMailbox") != "user@corp.test" {
		t.Errorf("second request %s", last)
	}
	x.fails("GetFolder", 500, fault("ErrorNonPrimarySmtpAddress", "Primary", "other@corp.test"))
	if _, err := x.client().Source(t.Context(), "alias@corp.test"); err == nil || strings.Contains(err.Error(), "@") {
		t.Errorf("two aliases in a row: %v", err)
	}
}

func TestBusyAccountHoldsAllItsMailboxesBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		header string
		want   time.Duration
	}{
		{"a fault with a time", 500, fault("ErrorServerBusy", "BackOffMilliseconds", "297749"), "", 297749 * time.Millisecond},
		{"a fault without a time", 500, fault("ErrorServerBusy"), "", 10 * time.Second},
		{"a fault with nonsense", 500, fault("ErrorServerBusy", "BackOffMilliseconds", "-1"), "", 10 * time.Second},
		{"more than a day is a day", 500, fault("ErrorServerBusy", "BackOffMilliseconds", "999999999999999"), "", 24 * time.Hour},
		{"a message", 200, answered("FindFolder", refused("FindFolder", "ErrorServerBusy", "BackOffMilliseconds", "60000")), "", time.Minute},
		{"busy inside an internal error", 200, answered("FindFolder", refused("FindFolder", "ErrorInternalServerError", "InnerErrorResponseCode", "ErrorServerBusy")), "", 10 * time.Second},
		{"too many connections", 500, fault("ErrorExceededConnectionCount"), "", 10 * time.Second},
		{"503 with Retry-After", 503, "", "20.5", 20500 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			c := x.client()
			one, err := c.Source(t.Context(), "one@corp.test")
			if err != nil {
				t.Fatal(err)
			}
			two, err := c.Source(t.Context(), "two@corp.test")
			if err != nil {
				t.Fatal(err)
			}
			x.answer["FindFolder"] = func(w http.ResponseWriter, _ string) {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
			}
			until := x.clock.Now().Add(test.want)
			var throttled *mailbox.Throttled
			if _, err := one.Folders(t.Context()); !errors.As(err, &throttled) || !throttled.Until.Equal(until) || throttled.By != "ews account" {
				t.Fatalf("got %v, want throttled for %s", err, test.want)
			}
			sent := len(x.requests)
			if _, err := two.Folders(t.Context()); !errors.As(err, &throttled) || !throttled.Until.Equal(until) {
				t.Fatalf("the other mailbox of the account got %v", err)
			}
			if len(x.requests) != sent {
				t.Fatal("the other mailbox sent a request, which prolongs the back-off")
			}
			if at := up(fenceOf(c, "two@corp.test")); !at.Equal(until) {
				t.Errorf("the fence is up until %s", at)
			}
			x.on("FindFolder", view("FindFolder", "Folders", 10, func(int) []string { return nil }))
			x.clock.Advance(test.want)
			if _, err := two.Folders(t.Context()); err != nil {
				t.Fatalf("after the back-off: %v", err)
			}
		})
	}
}

func TestBackOffWithoutATimeGrows(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s := x.open()
	x.fails("FindFolder", 500, fault("ErrorServerBusy"))
	x.fails("GetFolder", 500, fault("ErrorServerBusy"))
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		_, err := s.Folders(t.Context())
		var throttled *mailbox.Throttled
		if !errors.As(err, &throttled) || throttled.Until.Sub(x.clock.Now()) != want*time.Second {
			t.Fatalf("got %v, want %ds", err, want)
		}
		x.clock.Advance(want * time.Second)
	}
	x.on("GetFolder", rootOnly) // a success, and the next back-off begins anew
	_, err := s.Folders(t.Context())
	var throttled *mailbox.Throttled
	if !errors.As(err, &throttled) || throttled.Until.Sub(x.clock.Now()) != 10*time.Second {
		t.Fatalf("after a success: %v", err)
	}
}

func TestPasswordsDoNotFollowRedirections(t *testing.T) {
	t.Parallel()
	x, other := newExchange(t), newExchange(t)
	x.answer["GetFolder"] = func(w http.ResponseWriter, _ string) {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	if _, err := x.client().Source(t.Context(), "user@corp.test"); err == nil || !strings.Contains(err.Error(), "http status 307") {
		t.Errorf("got %v", err)
	}
	if len(other.requests) > 0 {
		t.Error("the other server was sent the request")
	}
}

func TestMailboxesAreSpreadOverTheAccounts(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	accounts := func(names string) *ews.Client {
		return x.client(func(o *ews.Options) {
			o.Accounts = nil
			for _, n := range names {
				o.Accounts = append(o.Accounts, ews.Account{User: string(n), Password: "p"})
			}
		})
	}
	// which tells a mailbox's account by raising a fence only there.
	which := func(c *ews.Client) map[string]string {
		out := map[string]string{}
		for i := range 300 {
			address := fmt.Sprintf("user%d@corp.test", i)
			_, f := c.Account(address)
			if _, by := f.Until(); by == "" {
				f.Raise(x.clock.Now(), address)
			}
			_, by := f.Until()
			out[address] = by
		}
		return out
	}
	three, turned := which(accounts("abc")), which(accounts("cab"))
	count := map[string]int{}
	for address, first := range three {
		count[first]++
		if turned[address] != first {
			t.Fatalf("the account of a mailbox depends on the order of accounts")
		}
	}
	if len(count) != 3 {
		t.Fatalf("%d of 3 accounts are used", len(count))
	}
	for _, n := range count {
		if n < 60 {
			t.Errorf("spread %v", count)
		}
	}
}

func TestCancelledContextIsToldAsSuch(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s := x.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Folders(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestServerThatIsDown(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.tick()
	x.Close()
	_, err := x.client().Source(t.Context(), "user@corp.test")
	if !errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func up(f *pace.Fence) time.Time {
	t, _ := f.Until()
	return t
}

func fenceOf(c *ews.Client, address string) *pace.Fence {
	_, f := c.Account(address)
	return f
}
