package servicebustest

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Outcomes of SASL (5.3.3.6).
const (
	saslOK   = 0
	saslAuth = 1
)

// handshake exchanges protocol headers, and SASL when the client begins with it. It runs in the reading
// goroutine; nothing else writes before the open frame.
func (c *conn) handshake(r io.Reader) error {
	protocol, err := c.header(r)
	if err != nil {
		return err
	}
	if protocol == wire.ProtocolSASL {
		if err := c.sasl(r); err != nil {
			return err
		}
		if protocol, err = c.header(r); err != nil {
			return err
		}
	}
	if protocol != wire.ProtocolAMQP {
		return fmt.Errorf("protocol %d after sasl", protocol)
	}
	return nil
}

// header reads a header and answers it: with the same when we speak it, else with the one we would like.
func (c *conn) header(r io.Reader) (byte, error) {
	var h wire.Header
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, err
	}
	if h == wire.ProtocolHeader(wire.ProtocolAMQP) || h == wire.ProtocolHeader(wire.ProtocolSASL) {
		c.raw(h[:])
		return h[4], nil
	}
	ours := wire.ProtocolHeader(wire.ProtocolSASL)
	c.raw(ours[:])
	c.out.finish()
	return 0, fmt.Errorf("protocol header % x is not AMQP 1.0", h[:])
}

func (c *conn) raw(p []byte) { c.out.put(func(b []byte) []byte { return append(b, p...) }) }

func (c *conn) sasl(r io.Reader) error {
	c.saslFrame(wire.CodeSASLMechanisms, wire.Array{Code: wire.ArrayOfSymbol,
		Items: []any{wire.Symbol("MSSBCBS"), wire.Symbol("ANONYMOUS"), wire.Symbol("PLAIN")}})
	f, err := wire.ReadFrame(r, wire.MinFrame)
	if err != nil {
		return err
	}
	p, _, err := wire.ReadComposite(f.Body)
	if err != nil {
		return err
	}
	if f.Type != wire.FrameSASL || p.Code != wire.CodeSASLInit {
		return errors.New("sasl-init expected")
	}
	mechanism, response := wire.Need[wire.Symbol](p, 0), wire.Or(p, 1, []byte(nil))
	if p.Err != nil {
		return p.Err
	}
	allowed, known := c.s.saslAllows(mechanism, response)
	if !allowed {
		c.saslFrame(wire.CodeSASLOutcome, uint8(saslAuth))
		c.out.finish()
		return fmt.Errorf("sasl mechanism %q refused", mechanism)
	}
	if known {
		c.claims[""] = time.Unix(1<<40, 0) // for every path, and for ever
	}
	c.saslFrame(wire.CodeSASLOutcome, uint8(saslOK))
	return nil
}

func (c *conn) saslFrame(code uint64, fields ...any) {
	c.out.put(func(b []byte) []byte {
		return wire.AppendFrame(b, wire.FrameSASL, 0, func(b []byte) []byte { return wire.AppendComposite(b, code, fields...) })
	})
}

// saslAllows lets in who will show a token later, and who is known by the key now and needs none.
func (s *Server) saslAllows(mechanism wire.Symbol, response []byte) (allowed, known bool) {
	switch mechanism {
	case "ANONYMOUS", "MSSBCBS":
		return true, false
	case "PLAIN":
		parts := bytes.Split(response, []byte{0})
		known = len(parts) == 3 && string(parts[1]) == keyName && subtle.ConstantTimeCompare(parts[2], []byte(sharedKey)) == 1
		return known, known
	}
	return false, false
}
