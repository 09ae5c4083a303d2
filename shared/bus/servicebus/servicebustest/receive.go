package servicebustest

import (
	"fmt"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// batchFormat marks a message whose data sections are messages.
const batchFormat = 0x80013700

// maxBatchMessages is not in the published quotas; clients found it: https://github.com/Azure/azure-sdk-for-js/issues/12041
const maxBatchMessages = 4500

// txnState is the delivery state of a transfer within a transaction.
const txnState = 0x34

// partial is a delivery whose frames are still coming.
type partial struct {
	id      uint32
	format  uint32
	settled bool
	state   any
	size    uint64
	bytes   []byte // none once size is past the limit
}

// transfer takes a frame of a delivery.
func (l *link) transfer(t wire.Transfer, payload []byte) {
	l.use()
	if l.partial == nil {
		if !l.first(t) {
			return
		}
	}
	p := l.partial
	if t.Aborted {
		l.partial = nil
		return
	}
	p.settled = p.settled || t.Settled
	switch p.size += uint64(len(payload)); {
	case p.size > l.max:
		p.bytes = nil
	case p.bytes == nil && !t.More:
		p.bytes = payload
	default:
		p.bytes = append(p.bytes, payload...)
	}
	if t.More {
		return
	}
	l.partial = nil
	l.complete(p)
}

// first begins a delivery.
func (l *link) first(t wire.Transfer) bool {
	if t.DeliveryID == nil {
		l.s.fail("amqp:invalid-field", "A delivery begins with a delivery-id.")
		return false
	}
	l.credit-- // never below half of what was given: see complete
	l.count++
	l.partial = &partial{id: *t.DeliveryID, format: orZero(t.Format), settled: t.Settled, state: t.State}
	return true
}

// complete hands on a whole message and answers it.
func (l *link) complete(p *partial) {
	var state any = wire.Accepted()
	if err := l.take(p); err != nil {
		state = wire.Rejected(err.Condition, err.Text)
	}
	if !p.settled {
		l.s.send(wire.Disposition{Receiver: true, First: p.id, Last: p.id, Settled: true, State: state}.Append)
	}
	for _, r := range l.conn().replies {
		r.sendAnswers()
	}
	if l.credit < ourCredit/2 && !l.detached {
		l.grant()
	}
}

func (l *link) take(p *partial) *broker.Error {
	if c, ok := wire.AsComposite(p.state); ok && c.Code == txnState {
		return &broker.Error{Condition: broker.NotImplemented, Text: "Transactions are not implemented."}
	}
	if p.size > l.max {
		return &broker.Error{Condition: broker.SizeExceeded, Text: fmt.Sprintf("The received message (delivery-id:%d, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.", p.id, p.size, l.max)}
	}
	m, err := wire.ParseMessage(p.bytes)
	if err != nil {
		return &broker.Error{Condition: broker.DecodeError, Text: err.Error()}
	}
	if l.node.request() {
		return l.request(m)
	}
	ms := []*wire.Message{m}
	if p.format == batchFormat {
		if ms, err = unpack(m); err != nil {
			return &broker.Error{Condition: broker.DecodeError, Text: err.Error()}
		}
		if len(ms) > maxBatchMessages {
			return &broker.Error{Condition: broker.NotAllowed, Text: fmt.Sprintf("The batch has %d messages. The maximum is %d.", len(ms), maxBatchMessages)}
		}
	}
	q := l.node.entity.Queue()
	if err := l.conn().s.isBusy(Operation{Kind: Send, Queue: q.Name, MessageID: broker.IDText(m.Properties.MessageID)}); err != nil {
		return err
	}
	return q.Send(ms)
}

// unpack reads the messages of a batch.
func unpack(m *wire.Message) ([]*wire.Message, error) {
	var out []*wire.Message
	for i, data := range m.Data() {
		one, err := wire.ParseMessage(data)
		if err != nil {
			return nil, fmt.Errorf("batch message %d: %w", i, err)
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("batch without messages")
	}
	return out, nil
}
