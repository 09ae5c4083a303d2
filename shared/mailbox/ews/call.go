package ews

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/mailbox/ews/soap"
	"github.com/mailferry/mailferry/shared/pace"
)

const (
	// maxListing bounds an answer that is decoded whole: 512 items with all their properties are below 4 MB.
	maxListing = 32 << 20
	maxFault   = 1 << 20
	// drained is how much of an answer that nobody wants is read, to keep its connection.
	drained = 64 << 10
)

// ask sends a request and decodes its answer. Errors of the request as a whole, and of its only response message,
// are mailbox errors; with several messages each has its own code.
func (s *Source) ask(ctx context.Context, body string) ([]soap.Message, error) {
	resp, err := s.post(ctx, body)
	if err != nil {
		return nil, err
	}
	defer leave(resp)
	messages, err := soap.Decode(io.LimitReader(resp.Body, maxListing))
	if err != nil {
		return nil, s.brokenAnswer(ctx, err)
	}
	if len(messages) == 0 {
		return nil, errors.New("read answer: no response message in it, check that the URL is that of EWS")
	}
	if m := messages[0]; m.Fault || len(messages) == 1 && m.Code != "NoError" {
		return nil, s.asError(m.Code, m.Values)
	}
	s.account.succeeded()
	return messages, nil
}

// brokenAnswer tells an answer that broke off, which is worth another try, from one that is not EWS at all.
func (s *Source) brokenAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read answer: %w", ctx.Err())
	}
	if errors.Is(err, soap.ErrNotSOAP) {
		return fmt.Errorf("read answer: %w", err)
	}
	return fmt.Errorf("%w: %w", mailbox.ErrUnavailable, err)
}

// post sends a request and returns an answer of 200. The caller closes its body with leave.
func (s *Source) post(ctx context.Context, body string) (*http.Response, error) {
	text := fmt.Sprintf(envelope, escaped(s.address), body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Accept", "text/xml")
	req.Header.Set("User-Agent", "Mailferry")
	req.Header.Set("X-AnchorMailbox", s.address) // routes to the server that holds the mailbox
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, notSent(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer leave(resp)
	return nil, s.statusError(resp)
}

// notSent translates what the transport says. A request that was carried out without an answer is no different: it
// only read.
func notSent(ctx context.Context, err error) error {
	var throttled *mailbox.Throttled
	if errors.As(err, &throttled) {
		return throttled
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("send request: %w", err)
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fmt.Errorf("send request: %w", err)
	}
	return fmt.Errorf("%w: %w", mailbox.ErrUnavailable, err)
}

// statusError is what an HTTP status other than 200 means.
func (s *Source) statusError(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusInternalServerError: // with a SOAP fault inside, when EWS itself answers
		if m, err := soap.Decode(io.LimitReader(resp.Body, maxFault)); err == nil && len(m) > 0 && m[0].Code != "" {
			return s.asError(m[0].Code, m[0].Values)
		}
		return fmt.Errorf("%w: http status 500 without a fault", mailbox.ErrUnavailable)
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: %s", mailbox.ErrAccess, login.Refusal(resp.Header, s.o.Auth))
	case http.StatusForbidden:
		return fmt.Errorf("%w: http status 403", mailbox.ErrAccess)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests: // the queue of IIS, or a proxy
		if until, ok := pace.RetryAfter(resp.Header, s.o.Clock.Now()); ok {
			return s.account.raise(until)
		}
		return fmt.Errorf("%w: http status %d", mailbox.ErrUnavailable, resp.StatusCode)
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
		return fmt.Errorf("%w: http status %d", mailbox.ErrUnavailable, resp.StatusCode)
	}
	return fmt.Errorf("http status %d: check that the URL is that of EWS", resp.StatusCode)
}

func leave(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, drained)
	_ = resp.Body.Close()
}
