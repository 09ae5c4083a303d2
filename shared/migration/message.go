package migration

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Queue is a Service Bus queue and the stage that reads it.
type Queue string

// The queues. Copy has sessions: the session is the mailbox.
const (
	PlanQueue   Queue = "plan"
	CopyQueue   Queue = "copy"
	VerifyQueue Queue = "verify"
)

// Queues lists them in pipeline order.
var Queues = [...]Queue{PlanQueue, CopyQueue, VerifyQueue}

// Message tells a stage which piece of which mailbox is next. Everything else stands in the ledger.
type Message struct {
	Version  int       `json:"v"`                  // 1
	Wave     WaveID    `json:"wave"`               //
	Mailbox  MailboxID `json:"mailbox"`            //
	Pass     int       `json:"pass"`               // from 1, counted over the mailbox's time in the wave
	Plan     PlanID    `json:"plan,omitempty"`     // which plan a copy or verify message belongs to
	Shard    int       `json:"shard,omitempty"`    // from 0, copy messages only
	Turn     int       `json:"turn,omitempty"`     // how often it was snoozed
	Failures int       `json:"failures,omitempty"` // how often it failed; these turns are counted as well
	Epoch    int       `json:"epoch,omitempty"`    // how often a person took the mailbox back into work
}

// MessageVersion is written into every message; a later version of Mailferry still reads it.
const MessageVersion = 1

// ID is the message's Service Bus message ID. It is the same whenever the same step is sent, so that duplicate
// detection drops the second; every turn has its own. It is shorter than 128 characters, the service's limit.
func (m Message) ID(q Queue) string {
	return fmt.Sprintf("%s/%s/%s/%d/%s/%d/%d/%d", q, m.Wave, m.Mailbox, m.Pass, m.Plan, m.Shard, m.Turn, m.Epoch)
}

// Encode writes the message's body.
func (m Message) Encode() []byte {
	m.Version = MessageVersion
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of strings and numbers always encodes
	}
	return b
}

// maxMessage is far above any body Encode writes.
const maxMessage = 4 << 10

// DecodeMessage reads what Encode wrote. An error names the field.
func DecodeMessage(body []byte) (Message, error) {
	var m Message
	if len(body) > maxMessage {
		return m, fmt.Errorf("message body: %d bytes, at most %d", len(body), maxMessage)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("message body: %w", err)
	}
	if d.More() {
		return m, fmt.Errorf("message body: more than one JSON value")
	}
	return m, m.check()
}

func (m Message) check() error {
	if m.Version != MessageVersion {
		return fmt.Errorf("field v: %d, this version of Mailferry reads %d", m.Version, MessageVersion)
	}
	if err := checkID("wave", string(m.Wave)); err != nil {
		return err
	}
	if err := checkID("mailbox", string(m.Mailbox)); err != nil {
		return err
	}
	if m.Plan != "" {
		if err := checkID("plan", string(m.Plan)); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		field  string
		v, min int
	}{{"pass", m.Pass, 1}, {"shard", m.Shard, 0}, {"turn", m.Turn, 0}, {"failures", m.Failures, 0}, {"epoch", m.Epoch, 0}} {
		if n.v < n.min {
			return fmt.Errorf("field %s: %d, want %d or more", n.field, n.v, n.min)
		}
	}
	return nil
}

// Again is the message's next turn.
func (m Message) Again() Message {
	m.Turn++
	return m
}

// Failed is the message's next turn after a failure.
func (m Message) Failed() Message {
	m.Failures++
	return m.Again()
}
