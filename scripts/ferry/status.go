package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/reporter"
)

// wave is what GET /api/waves/{id} answers, as far as it is used here.
type wave struct {
	migration.Wave
	States map[migration.State]int `json:"states"`
	Over   bool                    `json:"over"`
	Items  migration.Counts        `json:"items"`
	Copied int                     `json:"copied"`
	Bytes  int64                   `json:"bytes"`
	Boxes  []box                   `json:"boxes"`

	Problems []reporter.Problem `json:"problems,omitzero"` // when they are asked for
	More     bool               `json:"more,omitempty"`    // problems than are listed
}

// box is one mailbox of a wave.
type box struct {
	ID      migration.MailboxID `json:"id"`
	State   migration.State     `json:"state"`
	Pass    int                 `json:"pass"`
	Planned int                 `json:"planned"`
	Settled int                 `json:"settled"`
	Problem string              `json:"problem"`
	Wait    migration.Wait      `json:"wait"`
}

// trouble is what a person should know of a mailbox: why it waits, or its last problem.
func (b box) trouble() string {
	if b.Wait.Why == "" {
		return b.Problem
	}
	return waits(b.Wait)
}

func waits(w migration.Wait) string { return "waits until " + when(w.Until) + ": " + w.Why }

// mailboxReport is what GET /api/waves/{id}/mailboxes/{id} answers.
type mailboxReport struct {
	migration.Mailbox
	Problems []ledger.Problem `json:"problems"`
}

type statusCmd struct {
	Wave    string `arg:"" optional:"" help:"The wave's ID, as ferry submit prints it. Without it: a list of the waves."`
	Mailbox string `arg:"" optional:"" help:"A mailbox's ID, to see it alone with its addresses and problems."`
	All     bool   `help:"List every mailbox, not only the first 40."`
}

func (c *statusCmd) Run(ctx context.Context, a *app) error {
	if c.Wave == "" {
		return a.showWaves(ctx)
	}
	path, err := wavePath(c.Wave, c.Mailbox)
	if err != nil {
		return err
	}
	from, err := a.client()
	if err != nil {
		return err
	}
	if c.Mailbox != "" {
		var m mailboxReport
		b, err := from.get(ctx, path, &m)
		if err != nil || a.JSON {
			return a.rawUnless(err, b)
		}
		return a.showMailbox(m)
	}
	var w wave
	b, err := from.get(ctx, path, &w)
	if err != nil || a.JSON {
		return a.rawUnless(err, b)
	}
	return a.showWave(w, c.All)
}

// showWaves lists all waves, the newest first.
func (a *app) showWaves(ctx context.Context) error {
	from, err := a.client()
	if err != nil {
		return err
	}
	var got struct{ Waves []migration.Wave }
	b, err := from.get(ctx, "/api/waves", &got)
	if err != nil || a.JSON {
		return a.rawUnless(err, b)
	}
	if len(got.Waves) == 0 {
		a.line("no wave yet; submit one: ferry submit batch.csv")
		return nil
	}
	rows := [][]string{{"WAVE", "NAME", "MAILBOXES", "SUBMITTED", "START", "CUTOVER"}}
	for _, w := range got.Waves {
		rows = append(rows, []string{string(w.ID), w.Name, fmt.Sprint(w.Mailboxes), when(w.Submitted), when(w.Start), when(w.Cutover)})
	}
	return table(a.out, rows)
}

func (a *app) rawUnless(err error, b []byte) error {
	if err != nil {
		return err
	}
	return a.raw(b)
}

// urgent is the order in which a person wants to see mailboxes.
var urgent = [...]migration.State{migration.Failed, migration.Paused, migration.Verifying, migration.Copying, migration.Planning,
	migration.Cutover, migration.Submitted, migration.Synced, migration.Cancelled, migration.Done}

func (a *app) showWave(w wave, all bool) error {
	title := "wave " + string(w.ID)
	if w.Name != "" {
		title += " (" + clean(w.Name) + ")"
	}
	a.line("%s: %s", title, w.describe())
	rows := [][]string{{"start", when(w.Start)}}
	if !w.Cutover.IsZero() {
		rows = append(rows, []string{"cutover", when(w.Cutover)})
	}
	rows = append(rows, []string{"copied", count(w.Copied, "item") + ", " + size(w.Bytes)}, []string{"verified", words(w.Items)})
	if err := table(a.out, rows); err != nil {
		return err
	}
	a.line("")
	return a.showBoxes(w, all)
}

func (a *app) showBoxes(w wave, all bool) error {
	const enough = 40
	boxes := slices.Clone(w.Boxes)
	slices.SortStableFunc(boxes, func(x, y box) int {
		return cmp.Compare(slices.Index(urgent[:], x.State), slices.Index(urgent[:], y.State))
	})
	hidden := 0
	if !all && len(boxes) > enough {
		boxes, hidden = boxes[:enough], len(boxes)-enough
	}
	rows := [][]string{{"MAILBOX", "STATE", "PASS", "ITEMS", "PROBLEM"}}
	for _, b := range boxes {
		rows = append(rows, []string{string(b.ID), string(b.State), fmt.Sprint(b.Pass), fmt.Sprintf("%d/%d", b.Settled, b.Planned), b.trouble()})
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	if hidden > 0 {
		a.line("… and %d more; --all lists them", hidden)
	}
	return nil
}

func (a *app) showMailbox(m mailboxReport) error {
	a.line("mailbox %s of wave %s: %s", m.ID, m.Wave, m.State)
	p := m.Plan()
	rows := [][]string{
		{"source", m.Source}, {"target", m.Target}, {"pass", fmt.Sprintf("%d %s", m.Pass, m.Kind)},
		{"plan", fmt.Sprintf("%d of %s settled, %s", m.Settled(), count(p.Items, "item"), size(p.Bytes))},
		{"copied", count(m.Copied, "item") + ", " + size(m.Bytes)}, {"verified", words(m.Counts)},
		{"submitted", when(m.Submitted)}, {"started", when(m.Started)}, {"changed", when(m.Changed)}, {"finished", when(m.Finished)},
	}
	if m.Problem != "" {
		rows = append(rows, []string{"problem", m.Problem})
	}
	if m.Wait.Until.After(a.clock.Now()) && !m.State.Held() && !m.State.Over() {
		rows = append(rows, []string{"now", waits(m.Wait)})
	}
	if err := table(a.out, slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" })); err != nil {
		return err
	}
	if len(m.Problems) == 0 {
		return nil
	}
	a.line("\n%s:", count(len(m.Problems), "problem"))
	rows = [][]string{{"PASS", "FOLDER", "CLASS", "RECEIVED", "SIZE", "REASON"}}
	for _, p := range m.Problems {
		rows = append(rows, []string{fmt.Sprint(p.Pass), p.Folder, p.Class, when(p.Received), sizeOf(p), reason(p)})
	}
	return table(a.out, rows)
}

func sizeOf(p ledger.Problem) string {
	if p.Size == 0 {
		return ""
	}
	return size(p.Size)
}

func reason(p ledger.Problem) string {
	if p.Detail == "" {
		return p.Reason
	}
	return p.Reason + ": " + p.Detail
}

// words are the counts of a verification, without those that are zero and need not be.
func words(c migration.Counts) string {
	text := fmt.Sprintf("source %d, target %d, match %d, missing %d, extra %d, differs %d", c.Source, c.Target, c.Match, c.Missing, c.Extra, c.Differs)
	if c.Skipped > 0 {
		text += fmt.Sprintf(", skipped %d", c.Skipped)
	}
	if c.Own > 0 {
		text += fmt.Sprintf(", own %d", c.Own)
	}
	return text
}

// describe says in one line where a wave stands.
func (w wave) describe() string {
	var parts []string
	for _, s := range migration.States {
		if n := w.States[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	planned, settled := w.progress()
	return fmt.Sprintf("%s; %d of %d items settled", strings.Join(parts, ", "), settled, planned) + w.waiting()
}

// waiting says how many mailboxes wait, and for what the first of them to go on.
func (w wave) waiting() string {
	n, first := 0, migration.Wait{}
	for _, b := range w.Boxes {
		if b.Wait.Why != "" {
			if n++; n == 1 || b.Wait.Until.Before(first.Until) {
				first = b.Wait
			}
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d waiting, the first until %s: %s", n, when(first.Until), clean(first.Why))
}

func (w wave) progress() (planned, settled int) {
	for _, b := range w.Boxes {
		planned, settled = planned+b.Planned, settled+b.Settled
	}
	return planned, settled
}
