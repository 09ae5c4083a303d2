package graph

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

func TestPropertyTag(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id   string
		want uint16
		bad  bool
	}{
		{id: "String 0x37", want: 0x37}, {id: "String 0x0037", want: 0x37}, {id: "SystemTime 0xE06", want: 0xe06},
		{id: "String 0X66B5", want: 0x66b5}, {id: "String 0x12345", bad: true}, {id: "0x37", bad: true}, {id: "", bad: true},
		{id: "String {00020329-0000-0000-C000-000000000046} Name x", bad: true},
	}
	for _, tt := range tests {
		if got, err := propertyTag(tt.id); got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%q: got %#x, %v", tt.id, got, err)
		}
	}
}

// FuzzProperties: whatever the service sends, a property is stored, passed over, or named in the error by its tag.
func FuzzProperties(f *testing.F) {
	f.Add("String 0x37", "a subject")
	f.Add("Binary 0x300b", "AQID")
	f.Add("SystemTime 0xe06", "2021-09-15T12:16:38.1052906Z")
	f.Add("Integer 0xe07", "-17")
	f.Add("Boolean 0xe1b", "True")
	f.Fuzz(func(t *testing.T, id, value string) {
		var p mailbox.Properties
		err := set(&p, extended{ID: id, Value: value})
		if err != nil && len(value) > 8 && strings.Contains(err.Error(), value) {
			t.Errorf("the error tells the value: %v", err)
		}
		tag, terr := propertyTag(id)
		if terr != nil && err == nil {
			t.Errorf("no error for id %q", id)
		}
		if terr == nil && tag == 0x37 && p.Subject != value {
			t.Errorf("subject %q, want %q", p.Subject, value)
		}
		if !p.Received.IsZero() && p.Received.Location() != time.UTC {
			t.Errorf("received in %v", p.Received.Location())
		}
	})
}

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	s := session{url: conceal("https://x/importItem?authtoken=abc")}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "url", s.url)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "url", s.url)
	fmt.Fprintf(&log, "%v %+v %#v %s %q", s.url, s, s, s.url, s.url)
	if strings.Contains(log.String(), "abc") {
		t.Errorf("shown in %s", log.String())
	}
}

func TestCleanCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"ErrorItemNotFound": "ErrorItemNotFound", "Sync_State-1.2": "Sync_State-1.2",
		"megan@contoso.com": "UnreadableCode", strings.Repeat("a", 65): "UnreadableCode", "": ""} {
		if got := clean(code); got != want {
			t.Errorf("%q: got %q, want %q", code, got, want)
		}
	}
}

func TestBareDropsURLs(t *testing.T) {
	t.Parallel()
	inner := errors.New("refused")
	err := fmt.Errorf("x: %w", &url.Error{Op: "Get", URL: "https://x/?authtoken=abc", Err: &url.Error{Op: "parse", URL: "y", Err: inner}})
	if got := bare(err); got != inner {
		t.Errorf("got %v", got)
	}
}

func TestSizesForget(t *testing.T) {
	t.Parallel()
	var s sizes
	for i := range maxSizes + 10 {
		s.remember(mailbox.ItemID(fmt.Sprint(i)), 7)
	}
	if len(s.of) != maxSizes || s.size(mailbox.ItemID(fmt.Sprint(maxSizes+9))) != 7 {
		t.Errorf("%d sizes held", len(s.of))
	}
}

func TestClientForgetsIdleMailboxes(t *testing.T) {
	t.Parallel()
	c := &Client{lines: map[string]*line{}, mailboxes: map[string]*Mailbox{}}
	start := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for i := range known {
		l := &line{used: start.Add(time.Duration(i) * time.Minute)}
		c.lines[fmt.Sprint(i, "@x")], c.mailboxes[fmt.Sprint(i)] = l, &Mailbox{line: l}
	}
	c.forget(start.Add(2 * time.Hour))
	if len(c.mailboxes) != known-60 || len(c.lines) != known-60 {
		t.Errorf("%d mailboxes and %d lines known, want %d", len(c.mailboxes), len(c.lines), known-60)
	}
}

type final struct{ error }

func (final) NonRetriable() {}

func TestCredentialErrors(t *testing.T) {
	t.Parallel()
	long := errors.New("AADSTS7000215: Invalid client secret for app in megan's tenant\nbody: {secret}")
	tests := []struct {
		name  string
		cause error
		want  error
		says  string
	}{
		{"refused", final{long}, mailbox.ErrAccess, "AADSTS7000215"},
		{"not reachable", errors.New("dial tcp: no route"), nil, "get token"},
	}
	for _, tt := range tests {
		err := failed(t.Context(), fmt.Errorf("x: %w", &credentialError{tt.cause}))
		_, passing := err.(*failure)
		if passing != (tt.want == nil) || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
