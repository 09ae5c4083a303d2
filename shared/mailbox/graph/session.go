package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// secret is a text that no log or error shows. It is a function because fmt prints the unexported fields of a struct
// without asking their String method.
type secret struct{ reveal func() string }

func conceal(s string) secret { return secret{func() string { return s }} }

func (secret) String() string               { return "***" }
func (secret) GoString() string             { return "***" }
func (secret) LogValue() slog.Value         { return slog.StringValue("***") }
func (secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// session is a permission to import into one mailbox, into any of its folders, until it ends.
type session struct {
	url secret    // holds a bearer token in its query
	end time.Time // when to stop using it, which is before it expires; zero when the service did not say
}

// session returns the session in use, or a new one when that has ended or is stale, the one the service refused.
// Whoever makes a new one keeps the others waiting, so that only one is made.
func (m *Mailbox) session(ctx context.Context, stale *session) (*session, error) {
	var s *session
	select {
	case s = <-m.sessions:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { m.sessions <- s }()
	if s != nil && s != stale && (s.end.IsZero() || m.client.clock.Now().Before(s.end)) {
		return s, nil
	}
	made, err := m.createSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("create import session: %w", err)
	}
	s = made
	return s, nil
}

func (m *Mailbox) createSession(ctx context.Context) (*session, error) {
	var answer struct {
		URL     string    `json:"importUrl"`
		Expires time.Time `json:"expirationDateTime"`
	}
	err := m.fetch(ctx, ask{verb: abs.POST, path: m.path("/createImportSession"), with: m.with(),
		needs: "MailboxItem.ImportExport.All", absent: mailbox.ErrNoMailbox}, &answer)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(answer.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != m.client.base.Scheme {
		return nil, errors.New("the import URL is not an https URL")
	}
	return &session{url: conceal(answer.URL), end: m.client.end(answer.Expires)}, nil
}

// end leaves a margin of a minute, or of a tenth of a short lifetime, so that no import starts too late.
func (c *Client) end(expires time.Time) time.Time {
	if expires.IsZero() {
		return expires
	}
	margin := min(time.Minute, expires.Sub(c.clock.Now())/10)
	return expires.Add(-max(margin, 0))
}
