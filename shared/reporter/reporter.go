// Package reporter writes what people read afterwards.
//
//	read the mailbox and its problems from the ledger
//	write them as one JSON file per mailbox and pass; the same pass writes the same file once
package reporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

// Reporter writes reports.
type Reporter struct {
	Ledger  *ledger.Ledger
	Reports blob.Store
}

// Report is what became of one mailbox.
type Report struct {
	migration.Mailbox
	Problems []ledger.Problem `json:"problems"`
}

// Problem is a problem with its mailbox's addresses.
type Problem struct {
	Source string `json:"source"`
	Target string `json:"target"`
	ledger.Problem
}

// Bounds of one mailbox's report and of a wave's problems; the mailboxes' counts are complete.
const (
	maxProblems     = 10_000
	maxWaveProblems = 100_000
)

// Read returns a mailbox's report as the ledger has it now.
func (r *Reporter) Read(ctx context.Context, w migration.WaveID, m migration.MailboxID) (Report, error) {
	box, err := r.Ledger.Mailbox(ctx, w, m)
	if err != nil {
		return Report{}, fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	report := Report{Mailbox: box, Problems: []ledger.Problem{}}
	for p, err := range r.Ledger.ProblemsOf(ctx, w, m) {
		if err != nil {
			return report, fmt.Errorf("read problems: %w", err)
		}
		if len(report.Problems) == maxProblems {
			break
		}
		report.Problems = append(report.Problems, p)
	}
	return report, nil
}

// Problems lists the problems of a wave, mailbox by mailbox, and says whether there are more than it lists.
func (r *Reporter) Problems(ctx context.Context, w migration.WaveID) (problems []Problem, more bool, err error) {
	problems = []Problem{}
	for p, err := range r.Ledger.ProblemsOf(ctx, w, "") {
		if err != nil {
			return nil, false, fmt.Errorf("read problems: %w", err)
		}
		if more = len(problems) == maxWaveProblems; more {
			break
		}
		problems = append(problems, Problem{Problem: p})
	}
	sides := map[migration.MailboxID][2]string{}
	for box, err := range r.Ledger.WaveMailboxes(ctx, w) {
		if err != nil {
			return nil, false, fmt.Errorf("read mailboxes from the ledger: %w", err)
		}
		sides[box.ID] = [2]string{box.Source, box.Target}
	}
	for i, p := range problems {
		problems[i].Source, problems[i].Target = sides[p.Mailbox][0], sides[p.Mailbox][1]
	}
	return problems, more, nil
}

// Report writes the report of a mailbox that came to an end or to a pause.
func (r *Reporter) Report(ctx context.Context, w migration.WaveID, m migration.MailboxID) error {
	report, err := r.Read(ctx, w, m)
	if err != nil {
		return err
	}
	if !report.State.Over() && report.State != migration.Synced {
		return nil
	}
	body, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	name := fmt.Sprintf("%s/%s-%04d.json", w, m, report.Pass)
	if err := r.Reports.Put(ctx, name, bytes.NewReader(body)); err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("store report: %w", err)
	}
	return nil
}
