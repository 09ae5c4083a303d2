package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pace"
)

// client calls the handler's HTTP functions through the host.
type client struct{ url, key string }

// status is what GET /api/waves/{id} answers, as far as it is used here.
type status struct {
	Mailboxes int                     `json:"mailboxes"`
	States    map[migration.State]int `json:"states"`
	Over      bool                    `json:"over"`
	Copied    int                     `json:"copied"`
	Bytes     int64                   `json:"bytes"`
	Boxes     []struct {
		ID      migration.MailboxID `json:"id"`
		State   migration.State     `json:"state"`
		Planned int                 `json:"planned"`
		Settled int                 `json:"settled"`
		Problem string              `json:"problem"`
	} `json:"boxes"`
}

// report is what GET /api/waves/{id}/mailboxes/{id} answers, as far as it is used here.
type report struct {
	Source   string           `json:"source"`
	Problems []ledger.Problem `json:"problems"`
}

// call makes a request and decodes its answer.
func (c client) call(ctx context.Context, method, path string, body []byte, into any) error {
	got, err := c.fetch(ctx, method, path, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(got, into)
}

// fetch makes a request, again as often as the handler's rate limit wants.
func (c client) fetch(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	for {
		got, wait, err := c.once(ctx, method, path, body)
		if wait == 0 {
			return got, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// once makes a request. When there were too many, it returns how long to wait.
func (c client) once(ctx context.Context, method, path string, body []byte) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("x-functions-key", c.key)
	if body != nil {
		req.Header.Set("Content-Type", "text/csv")
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("call the handler: %w", err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("call the handler: %w", err)
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		wait, ok := pace.RetryAfter(resp.Header, time.Now())
		if !ok {
			return nil, time.Second, nil
		}
		return nil, max(time.Until(wait), time.Millisecond), nil
	}
	if resp.StatusCode >= 300 {
		return nil, 0, fmt.Errorf("call the handler: %s %s answers %s: %s", method, path, resp.Status, bytes.TrimSpace(got))
	}
	return got, 0, nil
}

// submit submits the batch as CSV.
func (c client) submit(ctx context.Context, pairs []pair) (migration.WaveID, error) {
	var csv strings.Builder
	csv.WriteString("source,target\n")
	for _, p := range pairs {
		fmt.Fprintf(&csv, "%s,%s\n", p.source.Address, p.target.Address)
	}
	var got struct{ Wave migration.WaveID }
	err := c.call(ctx, http.MethodPost, "/api/batches", []byte(csv.String()), &got)
	return got.Wave, err
}

// watch polls a wave until it is over.
func watch(ctx context.Context, c client, wave migration.WaveID, show func(status)) error {
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for {
		var s status
		if err := c.call(ctx, http.MethodGet, "/api/waves/"+string(wave), nil, &s); err != nil {
			return err
		}
		show(s)
		if s.Over {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("watch wave %s: %w", wave, ctx.Err())
		}
	}
}

// progress returns what shows a wave's progress: a bar in a terminal, a line for every change elsewhere.
func progress(out io.Writer) func(status) {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return bar(out)
	}
	last := ""
	return func(s status) {
		if line := describe(s); line != last {
			fmt.Fprintln(out, line)
			last = line
		}
	}
}

func bar(out io.Writer) func(status) {
	b := progressbar.NewOptions(-1, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(40), progressbar.OptionClearOnFinish(), progressbar.OptionSetItsString("items"), progressbar.OptionShowIts())
	return func(s status) {
		planned, settled := totals(s)
		if planned > 0 {
			b.ChangeMax(planned)
			_ = b.Set(settled)
		}
		b.Describe(states(s))
		if s.Over {
			_ = b.Finish()
			fmt.Fprintln(out, describe(s))
		}
	}
}

func describe(s status) string {
	planned, settled := totals(s)
	return fmt.Sprintf("%s; %d of %d items", states(s), settled, planned)
}

func totals(s status) (planned, settled int) {
	for _, b := range s.Boxes {
		planned, settled = planned+b.Planned, settled+b.Settled
	}
	return planned, settled
}

func states(s status) string {
	var parts []string
	for _, st := range migration.States {
		if n := s.States[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	return strings.Join(parts, ", ")
}
