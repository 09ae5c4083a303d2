package migration

import (
	"fmt"
	"slices"
	"time"
)

// State is where a mailbox stands; see the package comment.
type State string

// The states.
const (
	Submitted State = "submitted"
	Planning  State = "planning"
	Copying   State = "copying"
	Verifying State = "verifying"
	Synced    State = "synced"
	Cutover   State = "cutover"
	Done      State = "done"
	Paused    State = "paused"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// States lists them in the order in which people read them.
var States = [...]State{Submitted, Planning, Copying, Verifying, Synced, Cutover, Done, Paused, Failed, Cancelled}

// next lists which states may follow which by a stage's work.
var next = map[State][]State{
	Submitted: {Planning},
	Planning:  {Planning, Copying, Verifying},
	Copying:   {Verifying, Planning},
	Verifying: {Planning, Synced, Done},
	Synced:    {Cutover, Planning},
	Cutover:   {Planning},
}

// Over says that nothing more happens to the mailbox by itself.
func (s State) Over() bool { return s == Done || s == Failed || s == Cancelled }

// Held says that an operator or a failure keeps the mailbox from being worked on.
func (s State) Held() bool { return s == Paused || s == Failed || s == Cancelled }

// Kind is why a pass is made.
type Kind string

// The kinds of a pass.
const (
	FullPass    Kind = "full"
	DeltaPass   Kind = "delta"
	CutoverPass Kind = "cutover"
)

// MaxTries is how many passes in a row may end with items missing before a person is asked.
const MaxTries = 3

// Counts say how source and target compare, in items.
type Counts struct {
	Source  int `json:"source"`  // listed at the source
	Target  int `json:"target"`  // listed on the target, in the folders that source folders pair with
	Match   int `json:"match"`   // on both sides, and every property agrees
	Missing int `json:"missing"` // at the source only, and not skipped for a reason
	Extra   int `json:"extra"`   // imported by us in excess
	Differs int `json:"differs"` // on both sides, and some property does not agree
	Skipped int `json:"skipped"` // at the source only, for a reason that stands in the report
	Own     int `json:"own"`     // on the target only and not from us: there before, or added by its user
}

// Plan is one plan of a mailbox as its row remembers it.
type Plan struct {
	ID     PlanID `json:"id"`
	Pass   int    `json:"pass"`
	Shards int    `json:"shards"`
	Items  int    `json:"items"`
	Bytes  int64  `json:"bytes"`
}

// Window is what the mailbox has uploaded since a moment: the target counts bytes per mailbox and five minutes.
type Window struct {
	Since time.Time `json:"since,omitzero"`
	Bytes int64     `json:"bytes"` // on the wire
}

// Mailbox is the ledger's row of one mailbox in one wave.
type Mailbox struct {
	ID        MailboxID `json:"id"`
	Wave      WaveID    `json:"wave"`
	Source    string    `json:"source"` // SMTP address
	Target    string    `json:"target"` // SMTP address
	State     State     `json:"state"`
	Was       State     `json:"was,omitempty"`    // the state before paused
	Kind      Kind      `json:"kind,omitempty"`   // of the pass under way or the last one
	Pass      int       `json:"pass"`             // 0 before the first
	Tries     int       `json:"tries,omitempty"`  // passes in a row that ended with items missing or differing
	Epoch     int       `json:"epoch,omitempty"`  // how often a person took it back into work
	Stalls    int       `json:"stalls,omitempty"` // deliveries in a row that copied nothing because a side was unavailable
	Plans     []Plan    `json:"plans,omitempty"`  // all that were made, oldest first
	Shard     int       `json:"shard,omitempty"`  // the shard being copied; as many as there are when all are
	Progress  int       `json:"progress"`         // items of that shard that have a result
	Copied    int       `json:"copied"`           // items imported in this wave
	Bytes     int64     `json:"bytes"`            // bytes imported in this wave
	Window    Window    `json:"window"`
	Counts    Counts    `json:"counts"`
	Receipt   string    `json:"receipt,omitempty"` // blob of the last receipt, without its ending
	Submitted time.Time `json:"submitted,omitzero"`
	Started   time.Time `json:"started,omitzero"`
	Changed   time.Time `json:"changed,omitzero"`
	Finished  time.Time `json:"finished,omitzero"`
	Problem   string    `json:"problem,omitempty"` // the last one, in words a person can act on
	Wait      Wait      `json:"wait,omitzero"`     // the last one; over when its time is past
}

// Wait says until when a mailbox's next message is held back, and why.
type Wait struct {
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why,omitempty"` // names the limit or the failure; never an address
}

// Plan returns the plan under way, the zero Plan before the first.
func (m *Mailbox) Plan() Plan {
	if len(m.Plans) == 0 {
		return Plan{}
	}
	return m.Plans[len(m.Plans)-1]
}

// Settled returns how many items of the plan under way have a result: all of the shards that are done count as full, so
// it is exact only when a shard ends.
func (m *Mailbox) Settled() int {
	p := m.Plan()
	if p.Shards == 0 || m.Shard >= p.Shards {
		return p.Items
	}
	return min(p.Items, p.Items*m.Shard/p.Shards+m.Progress)
}

// To moves the mailbox to another state, or says that no stage may do that.
func (m *Mailbox) To(s State, now time.Time) error {
	ok := s == Failed || s == Cancelled || s == Paused && !m.State.Held() || slices.Contains(next[m.State], s)
	if !ok || m.State == Cancelled || (m.State == Done && s != Done) {
		return fmt.Errorf("mailbox is %s and cannot become %s", m.State, s)
	}
	if s == Paused {
		m.Was = m.State
	}
	m.State, m.Changed, m.Wait = s, now, Wait{}
	if s.Over() {
		m.Finished = now
	}
	return nil
}

// Concerns says whether a message is about the step that the mailbox is at, and not about one that is over.
func (m *Mailbox) Concerns(msg Message) bool {
	switch {
	case m.State.Over() || msg.Pass < m.Pass || msg.Epoch < m.Epoch && msg.Plan == "":
		return false
	case msg.Plan == "":
		return msg.Pass > m.Pass || m.Plan().Pass < m.Pass
	}
	verified := m.State == Synced || m.State == Cutover
	return msg.Plan == m.Plan().ID && !verified && (m.State != Copying || msg.Shard >= m.Shard)
}

// NextPass is the message to the plan queue that begins the mailbox's next pass.
func (m *Mailbox) NextPass() Message {
	return Message{Wave: m.Wave, Mailbox: m.ID, Pass: m.Pass + 1, Epoch: m.Epoch}
}

// PlanMessage is the message to the plan queue that a mailbox waits for as it stands, which may be sent again. Only one that
// is submitted, planning or in cutover waits for one.
func (m *Mailbox) PlanMessage() (Message, bool) {
	next := m.NextPass()
	switch m.State {
	case Submitted, Cutover:
		return next, true
	case Planning:
		if m.Pass > 0 && m.Plan().Pass < m.Pass { // the pass has begun, or a person took it back into work
			next.Pass = m.Pass
		}
		return next, true
	}
	return Message{}, false
}

// Step is the message of the step that a mailbox is at, and its queue. It may be sent again; one that waits for its delta or
// its cutover, or is over, has none.
func (m *Mailbox) Step() (Queue, Message, bool) {
	if next, ok := m.PlanMessage(); ok {
		return PlanQueue, next, true
	}
	msg := Message{Wave: m.Wave, Mailbox: m.ID, Pass: m.Pass, Plan: m.Plan().ID, Epoch: m.Epoch}
	switch m.State {
	case Copying:
		msg.Shard = m.Shard
		return CopyQueue, msg, true
	case Verifying:
		return VerifyQueue, msg, true
	}
	return "", Message{}, false
}

// Reopen takes a paused or failed mailbox back into work.
func (m *Mailbox) Reopen(s State, now time.Time) error {
	if m.State != Paused && m.State != Failed {
		return fmt.Errorf("mailbox is %s and cannot be taken back into work", m.State)
	}
	m.State, m.Changed, m.Finished = s, now, time.Time{}
	m.Epoch++
	return nil
}

// Wave is the ledger's row of a wave.
type Wave struct {
	ID        WaveID    `json:"id"`
	Name      string    `json:"name,omitempty"` // what people call it
	Mailboxes int       `json:"mailboxes"`
	Submitted time.Time `json:"submitted,omitzero"`
	Start     time.Time `json:"start,omitzero"`     // when its mailboxes begin
	Cutover   time.Time `json:"cutover,omitzero"`   // when the last pass begins; zero: the first pass is the last
	Spread    int       `json:"spread,omitempty"`   // seconds over which the starts are spread
	Started   bool      `json:"started,omitempty"`  // plan messages were sent
	Switched  bool      `json:"switched,omitempty"` // cutover messages were sent
	Looked    time.Time `json:"looked,omitzero"`    // when it was last looked through for mailboxes left without a message
}
