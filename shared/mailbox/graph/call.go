package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// ask is a request to Graph, from which it can be built any number of times. All are safe to repeat: they read, or
// make what is there already (a folder), or something that costs nothing (a session).
type ask struct {
	verb   abs.HttpMethod    // GET when left out
	path   string            // URL template below the base URL
	with   map[string]string // its parameters
	top    int               // $top, 0 for none
	expand string            // $expand, "" for none
	link   string            // a nextLink or deltaLink instead of path, with and query
	prefer string            // the Prefer header, "" for none
	body   any               // sent as JSON; nil for none
	needs  string            // the permission to name when access is refused
	absent error             // what a 404 means; mailbox.ErrNoFolder when left out
}

func (l *line) request(a ask) (*abs.RequestInformation, error) {
	ri := abs.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(a.verb,
		"{+baseurl}"+a.path+"{?%24top,%24expand}", map[string]string{})
	for k, v := range a.with {
		ri.PathParameters[k] = v
	}
	ri.PathParameters["baseurl"] = l.client.base.String()
	if a.top > 0 {
		ri.QueryParametersAny["%24top"] = strconv.Itoa(a.top)
	}
	if a.expand != "" {
		ri.QueryParametersAny["%24expand"] = a.expand
	}
	if a.link != "" {
		if err := l.ours(a.link); err != nil {
			return nil, err
		}
		ri.PathParameters["request-raw-url"] = a.link
	}
	if a.prefer != "" {
		ri.Headers.Add("Prefer", a.prefer)
	}
	ri.Headers.Add("Accept", "application/json")
	return ri, setBody(ri, a.body)
}

func setBody(ri *abs.RequestInformation, body any) error {
	if body == nil {
		return nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	ri.SetStreamContentAndContentType(b, "application/json")
	ri.Headers.Add("Content-Length", strconv.Itoa(len(b))) // else it is sent in chunks
	return nil
}

// ours checks that a link leads to where it came from. The SDK would follow any, to other hosts without a token.
func (l *line) ours(link string) error {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != l.client.base.Scheme || u.Host != l.client.base.Host {
		return fmt.Errorf("a link that leads away from Graph")
	}
	return nil
}

// fetch sends a request and decodes the answer's JSON into to.
func (l *line) fetch(ctx context.Context, a ask, to any) error {
	return l.repeat(ctx, a, func() error {
		body, err := l.exchange(ctx, a)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, to); err != nil {
			return &failure{cause: fmt.Errorf("malformed answer at byte %d of %d", offset(err), len(body))}
		}
		return nil
	})
}

func (l *line) exchange(ctx context.Context, a ask) ([]byte, error) {
	ri, err := l.request(a)
	if err != nil {
		return nil, err
	}
	mapping := abs.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue}
	answer, err := l.adapter.SendPrimitive(ctx, ri, "[]byte", mapping)
	if err != nil {
		return nil, failed(ctx, err)
	}
	body, _ := answer.([]byte)
	return body, nil
}

// repeat does try again while it fails for reasons that pass. After a 429 the gate waits before the next attempt,
// or refuses it.
func (l *line) repeat(ctx context.Context, a ask, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		f, ok := err.(*failure)
		if !ok {
			return err
		}
		if !f.passing() || n == attempts {
			return l.verdict(f, a)
		}
		l.client.log.DebugContext(ctx, "graph request again", "attempt", n, "status", f.status, "code", f.code)
		if f.status == http.StatusTooManyRequests {
			continue
		}
		if err := l.pause(ctx, n); err != nil {
			return err
		}
	}
}

func (l *line) pause(ctx context.Context, n int) error {
	t := l.client.clock.NewTimer(backoff(n))
	defer t.Stop()
	select {
	case <-t.Chan():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func offset(err error) int64 {
	switch e := err.(type) {
	case *json.SyntaxError:
		return e.Offset
	case *json.UnmarshalTypeError:
		return e.Offset
	}
	return 0
}

// throttled is the error for a request that was refused until the fence comes down.
func (l *line) throttled() error {
	until, by := l.raised()
	return &mailbox.Throttled{Until: until, By: by}
}
