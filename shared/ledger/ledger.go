package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// ErrCorrupt says that a row is not what was written: its checksum does not fit its content.
var ErrCorrupt = errors.New("ledger row is damaged")

// Ledger is the five tables with their Go types.
//
//	table      partition / row key
//	waves      "wave" / wave ID
//	mailboxes  wave ID / mailbox ID; and "claim-…" / "claim": which wave has an address in work
//	groups     mailbox ID, pass, plan and shard / group number
//	fences     "fence" / account
//	problems   wave ID / mailbox ID, pass and what it is about
type Ledger struct {
	Waves, Mailboxes, Groups, Fences, Problems Table
}

// NewMemory returns an empty ledger in memory.
func NewMemory() *Ledger {
	return &Ledger{&Memory{}, &Memory{}, &Memory{}, &Memory{}, &Memory{}}
}

// sealed is a row's body: the content and the beginning of its SHA-256.
type sealed struct {
	Sum string          `json:"sum"`
	Row json.RawMessage `json:"row"`
}

func seal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write ledger row: %w", err)
	}
	b = ascii(b)
	return json.Marshal(sealed{checksum(b), b})
}

// ascii writes JSON without bytes above 0x7F, as rows want it.
func ascii(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r < utf8.RuneSelf:
			out = append(out, b[i])
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

func unseal(r Row, v any) error {
	var s sealed
	if err := json.Unmarshal(r.Body, &s); err != nil || s.Sum != checksum(s.Row) {
		return fmt.Errorf("row %s of %s: %w", r.Key, r.Partition, ErrCorrupt)
	}
	if err := json.Unmarshal(s.Row, v); err != nil {
		return fmt.Errorf("row %s of %s: %w", r.Key, r.Partition, ErrCorrupt)
	}
	return nil
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// list reads the rows of a partition into values. For a damaged row it yields what damaged makes of it: one bad row does
// not hide the others, and is not hidden itself.
func list[T any](ctx context.Context, t Table, partition, prefix string, damaged func(Row) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for r, err := range t.Rows(ctx, partition, prefix) {
			var v T
			if err == nil && unseal(r, &v) != nil {
				v = damaged(r)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// read reads one row into a value and returns the row, to be replaced.
func read[T any](ctx context.Context, t Table, partition, key string) (T, Row, error) {
	var v T
	r, err := t.Row(ctx, partition, key)
	if err != nil {
		return v, r, err
	}
	return v, r, unseal(r, &v)
}

// change applies f to a row's value until it is stored. Writers of one row are few; a lost race is repeated.
func change[T any](ctx context.Context, t Table, at Row, f func(*T) error) (T, error) {
	const tries = 20
	for range tries {
		v, r, err := read[T](ctx, t, at.Partition, at.Key)
		if err != nil {
			return v, err
		}
		if err := f(&v); err != nil {
			return v, err
		}
		if r.Body, err = seal(v); err != nil {
			return v, err
		}
		r.Shown = shown(v)
		if _, err = replace(ctx, t, r); !errors.Is(err, ErrConflict) {
			return v, err
		}
	}
	var none T
	return none, ErrConflict
}

// shown picks the columns that people see in the portal.
func shown(v any) map[string]string {
	switch v := v.(type) {
	case migration.Mailbox:
		return map[string]string{"State": string(v.State), "Kind": string(v.Kind), "Problem": v.Problem}
	case migration.Wave:
		return map[string]string{"Start": v.Start.UTC().Format(time.RFC3339), "Started": fmt.Sprint(v.Started)}
	}
	return nil
}

// insert is Table.Insert for a client that repeats requests: a second request meets the rows of the first.
func insert(ctx context.Context, t Table, rows ...Row) error {
	err := t.Insert(ctx, rows...)
	if !errors.Is(err, ErrExists) {
		return err
	}
	for _, r := range rows {
		if there, readErr := t.Row(ctx, r.Partition, r.Key); readErr != nil || string(there.Body) != string(r.Body) {
			return err
		}
	}
	return nil
}

const wavePartition = "wave"

// AddWave writes a wave: ErrExists if its ID is there.
func (l *Ledger) AddWave(ctx context.Context, w migration.Wave) error {
	body, err := seal(w)
	if err != nil {
		return err
	}
	return insert(ctx, l.Waves, Row{Partition: wavePartition, Key: string(w.ID), Body: body, Shown: shown(w)})
}

// Wave reads a wave: ErrNotFound.
func (l *Ledger) Wave(ctx context.Context, id migration.WaveID) (migration.Wave, error) {
	w, _, err := read[migration.Wave](ctx, l.Waves, wavePartition, string(id))
	return w, err
}

// damagedRow stands where a row's content cannot be trusted.
const damagedRow = "its row in the ledger is damaged; submit its mailboxes again"

// AllWaves lists the waves, sorted by ID. A wave whose row is damaged has a name that says so, and is not started.
func (l *Ledger) AllWaves(ctx context.Context) iter.Seq2[migration.Wave, error] {
	return list(ctx, l.Waves, wavePartition, "", func(r Row) migration.Wave {
		return migration.Wave{ID: migration.WaveID(r.Key), Name: damagedRow, Started: true, Switched: true}
	})
}

// ChangeWave applies f to a wave and stores it. An error from f changes nothing and is returned.
func (l *Ledger) ChangeWave(ctx context.Context, id migration.WaveID, f func(*migration.Wave) error) (migration.Wave, error) {
	return change(ctx, l.Waves, Row{Partition: wavePartition, Key: string(id)}, f)
}

// AddMailboxes writes the mailboxes of one wave: ErrExists if any is there. Up to MaxInsert are written together.
func (l *Ledger) AddMailboxes(ctx context.Context, ms []migration.Mailbox) error {
	for len(ms) > 0 {
		n := min(len(ms), MaxInsert)
		rows := make([]Row, n)
		for i, m := range ms[:n] {
			body, err := seal(m)
			if err != nil {
				return err
			}
			rows[i] = Row{Partition: string(m.Wave), Key: string(m.ID), Body: body, Shown: shown(m)}
		}
		if err := insert(ctx, l.Mailboxes, rows...); err != nil {
			return err
		}
		ms = ms[n:]
	}
	return nil
}

// RemoveMailbox takes back what AddMailboxes wrote for a wave that will not be.
func (l *Ledger) RemoveMailbox(ctx context.Context, m migration.Mailbox) error {
	return l.Mailboxes.Delete(ctx, Row{Partition: string(m.Wave), Key: string(m.ID), ETag: "*"})
}

// Mailbox reads a mailbox: ErrNotFound.
func (l *Ledger) Mailbox(ctx context.Context, w migration.WaveID, id migration.MailboxID) (migration.Mailbox, error) {
	m, _, err := read[migration.Mailbox](ctx, l.Mailboxes, string(w), string(id))
	return m, err
}

// WaveMailboxes lists the mailboxes of a wave, sorted by ID. A mailbox whose row is damaged is listed as failed.
func (l *Ledger) WaveMailboxes(ctx context.Context, w migration.WaveID) iter.Seq2[migration.Mailbox, error] {
	return list(ctx, l.Mailboxes, string(w), "", func(r Row) migration.Mailbox {
		return migration.Mailbox{ID: migration.MailboxID(r.Key), Wave: w, State: migration.Failed, Problem: damagedRow}
	})
}

// ChangeMailbox applies f to a mailbox and stores it. An error from f changes nothing and is returned. f may run more
// than once.
func (l *Ledger) ChangeMailbox(ctx context.Context, w migration.WaveID, id migration.MailboxID, f func(*migration.Mailbox) error) (migration.Mailbox, error) {
	return change(ctx, l.Mailboxes, Row{Partition: string(w), Key: string(id)}, f)
}

// Problem is one finding in words a person can act on.
type Problem struct {
	Mailbox  migration.MailboxID `json:"mailbox"`
	Pass     int                 `json:"pass"`
	About    string              `json:"about"` // an item's key, or what it is about: the same finding has the same
	Reason   string              `json:"reason"`
	Detail   string              `json:"detail,omitempty"`
	Folder   string              `json:"folder,omitempty"` // names from the top, joined by " / "
	Class    string              `json:"class,omitempty"`
	Received time.Time           `json:"received,omitzero"`
	Size     int64               `json:"size,omitempty"`
	Seen     time.Time           `json:"seen,omitzero"`
}

// About names what a problem says of an item in a folder, so that the same finding is the same problem.
func About(reason string, folder []string, k mailbox.Key) string {
	return mailbox.Fingerprint(append([]string{reason}, folder...)...) + "-" + k.String()
}

// Report records a problem once, however often it is found.
func (l *Ledger) Report(ctx context.Context, w migration.WaveID, p Problem) error {
	body, err := seal(p)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s-%04d-%s", p.Mailbox, p.Pass, p.About)
	if p.About == "" || len(key) > 200 {
		key = fmt.Sprintf("%s-%04d-%s", p.Mailbox, p.Pass, checksum([]byte(p.About)))
	}
	err = l.Problems.Insert(ctx, Row{Partition: string(w), Key: key, Body: body})
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// ProblemsOf lists the problems of a wave, or with a mailbox those of one.
func (l *Ledger) ProblemsOf(ctx context.Context, w migration.WaveID, m migration.MailboxID) iter.Seq2[Problem, error] {
	prefix := ""
	if m != "" {
		prefix = string(m) + "-"
	}
	return list(ctx, l.Problems, string(w), prefix, func(r Row) Problem {
		return Problem{Mailbox: m, About: r.Key, Reason: "damaged problem", Detail: "the row of this problem in the ledger is damaged"}
	})
}

// Fence says that an account wants no calls before Until.
type Fence struct {
	Account string    `json:"account"` // a name that holds no address or user name
	Until   time.Time `json:"until"`
	Why     string    `json:"why"`
}

const fencePartition = "fence"

// RaiseFence records a fence; one that is higher already stays.
func (l *Ledger) RaiseFence(ctx context.Context, f Fence) error {
	body, err := seal(f)
	if err != nil {
		return err
	}
	err = l.Fences.Insert(ctx, Row{Partition: fencePartition, Key: f.Account, Body: body})
	if !errors.Is(err, ErrExists) {
		return err
	}
	_, err = change(ctx, l.Fences, Row{Partition: fencePartition, Key: f.Account}, func(old *Fence) error {
		if f.Until.After(old.Until) {
			*old = f
		}
		return nil
	})
	return err
}

// FenceOf returns an account's fence, which may be down already; the zero Fence when there never was one.
func (l *Ledger) FenceOf(ctx context.Context, account string) (Fence, error) {
	f, _, err := read[Fence](ctx, l.Fences, fencePartition, account)
	if errors.Is(err, ErrNotFound) {
		return Fence{}, nil
	}
	return f, err
}

// Phase is how far a group is.
type Phase string

// The phases of a group.
const (
	Importing Phase = "importing" // its owner may be importing this very moment
	Waiting   Phase = "waiting"   // its owner stopped in order: items without a result were not imported
	Settling  Phase = "settling"  // nobody imports since Since, and items without a result may be on the target
	Copied    Phase = "copied"    // every item has a result
)

// GroupSize is how many items a group has; the last one of a shard may have fewer. Graph's exportItems takes as many.
const GroupSize = 20

// Group is up to GroupSize items of a shard.
type Group struct {
	Phase Phase       `json:"phase"`
	Owner string      `json:"owner"`          // the delivery that works on it
	Since time.Time   `json:"since,omitzero"` // when the phase began
	Items []GroupItem `json:"items"`

	Damaged bool `json:"-"` // the row cannot be read; nothing is known of its items, and somebody may be importing them
	row     Row
}

// GroupItem is what became of one item.
type GroupItem struct {
	Key         mailbox.Key    `json:"key"`
	Target      mailbox.ItemID `json:"target,omitempty"` // on the target under this id
	Skip        mailbox.Reason `json:"skip,omitempty"`   // not there, for this reason
	Detail      string         `json:"detail,omitempty"` // the other side's code, or what the check found
	Bytes       int64          `json:"bytes,omitempty"`
	Digest      string         `json:"digest,omitempty"` // of its canonical properties at the source, hexadecimal
	Recipients  int            `json:"recipients,omitempty"`
	Attachments int            `json:"attachments,omitempty"`
	Replaced    bool           `json:"replaced,omitempty"` // it overwrote an item that was there
	Found       bool           `json:"found,omitempty"`    // its import's answer was lost; it was found by its key
	Lost        int            `json:"lost,omitempty"`     // how often its import's answer was lost
}

// Settled says whether the item has a result.
func (i GroupItem) Settled() bool { return i.Target != "" || i.Skip != "" }

// GroupsOf names the groups of one shard of one plan.
type GroupsOf struct {
	Mailbox migration.MailboxID
	Pass    int
	Plan    migration.PlanID
	Shard   int
}

func (of GroupsOf) partition() string {
	return fmt.Sprintf("%s-%04d-%s-%05d", of.Mailbox, of.Pass, of.Plan, of.Shard)
}

// GroupList returns the groups of a shard by number. Groups that nobody began are absent. A damaged one can be taken over.
func (l *Ledger) GroupList(ctx context.Context, of GroupsOf) (map[int]*Group, error) {
	groups := map[int]*Group{}
	for r, err := range l.Groups.Rows(ctx, of.partition(), "") {
		if err != nil {
			return nil, err
		}
		g := &Group{row: r}
		if unseal(r, g) != nil {
			g = &Group{row: r, Damaged: true, Phase: Importing}
		}
		var n int
		if _, err := fmt.Sscanf(r.Key, "%d", &n); err != nil {
			return nil, fmt.Errorf("row %s of %s: %w", r.Key, r.Partition, ErrCorrupt)
		}
		groups[n] = g
	}
	return groups, nil
}

// BeginGroup writes a new group: ErrExists when another worker began it. g can then be stored by StoreGroup.
func (l *Ledger) BeginGroup(ctx context.Context, of GroupsOf, number int, g *Group) error {
	body, err := seal(g)
	if err != nil {
		return err
	}
	r := Row{Partition: of.partition(), Key: fmt.Sprintf("%05d", number), Body: body}
	if err := l.Groups.Insert(ctx, r); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	g.row, err = l.Groups.Row(ctx, r.Partition, r.Key)
	if err == nil && string(g.row.Body) != string(body) {
		return ErrExists
	}
	return err
}

// StoreGroup overwrites a group as it was read or stored last: ErrConflict when another worker has taken it over.
func (l *Ledger) StoreGroup(ctx context.Context, g *Group) error {
	body, err := seal(g)
	if err != nil {
		return err
	}
	r := g.row
	r.Body = body
	r, err = replace(ctx, l.Groups, r)
	if err == nil {
		g.row, g.Damaged = r, false
	}
	return err
}

// replace is Table.Replace for a client that repeats requests: when the first answer was lost, the second request
// meets its own row. Bodies name their writer or what they say is the same, so an equal body is our own.
func replace(ctx context.Context, t Table, r Row) (Row, error) {
	stored, err := t.Replace(ctx, r)
	if !errors.Is(err, ErrConflict) {
		return stored, err
	}
	now, readErr := t.Row(ctx, r.Partition, r.Key)
	if readErr == nil && string(now.Body) == string(r.Body) {
		return now, nil
	}
	return r, err
}

// TakeOver makes a group that its owner may still be importing ours to settle: from Since on, its former owner can no
// longer finish an import. Since is at most a quarter of the doubt before the moment in which that became true, however
// long the write took.
func (l *Ledger) TakeOver(ctx context.Context, g *Group, clock clockwork.Clock, doubt time.Duration) error {
	for {
		g.Phase, g.Since = Settling, clock.Now()
		if err := l.StoreGroup(ctx, g); err != nil {
			return err
		}
		if clock.Since(g.Since) <= doubt/4 {
			return nil
		}
	}
}

// HoldsGroup says whether a group is still as this worker stored it: ErrConflict when another has taken it over.
func (l *Ledger) HoldsGroup(ctx context.Context, g *Group) error {
	r, err := l.Groups.Row(ctx, g.row.Partition, g.row.Key)
	if err == nil && r.ETag != g.row.ETag {
		return ErrConflict
	}
	return err
}

// LastPlan names the plan that a mailbox was copied for last, in any wave.
type LastPlan struct {
	Wave   migration.WaveID `json:"wave"`
	Pass   int              `json:"pass"`
	Plan   migration.PlanID `json:"plan"`
	Shards int              `json:"shards"`
}

const lastPlanKey = "last-plan"

// SetLastPlan remembers a mailbox's plan under way, before the first message of its copy is sent.
func (l *Ledger) SetLastPlan(ctx context.Context, m migration.Mailbox) error {
	p := m.Plan()
	v := LastPlan{m.Wave, p.Pass, p.ID, p.Shards}
	body, err := seal(v)
	if err != nil {
		return err
	}
	at := Row{Partition: string(m.ID), Key: lastPlanKey, Body: body}
	err = l.Groups.Insert(ctx, at)
	if !errors.Is(err, ErrExists) {
		return err
	}
	_, err = change(ctx, l.Groups, at, func(old *LastPlan) error {
		*old = v
		return nil
	})
	if errors.Is(err, ErrCorrupt) {
		at.ETag = "*"
		err = errors.Join(l.Groups.Delete(ctx, at), l.Groups.Insert(ctx, at))
	}
	return err
}

// LastPlan returns the plan that a mailbox was copied for last, the zero LastPlan when it never was: ErrCorrupt when that
// is not known any more.
func (l *Ledger) LastPlan(ctx context.Context, id migration.MailboxID) (LastPlan, error) {
	p, _, err := read[LastPlan](ctx, l.Groups, string(id), lastPlanKey)
	if errors.Is(err, ErrNotFound) {
		return LastPlan{}, nil
	}
	return p, err
}
