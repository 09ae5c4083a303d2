package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/ledger"
)

type reportCmd struct {
	Wave string `arg:"" help:"The wave's ID, as ferry submit prints it."`
	CSV  string `name:"csv" placeholder:"FILE" help:"Write the problems into a spreadsheet's file; - is standard output."`
}

// Help is the long text of ferry report --help.
func (reportCmd) Help() string {
	return `One line for every item that was skipped, is missing or differs, and for whatever else went wrong: folder, class, date,
size and reason. Subjects and contents are not recorded anywhere.`
}

// problem is a problem with the mailbox's addresses.
type problem struct {
	Source string `json:"source"`
	Target string `json:"target"`
	ledger.Problem
}

func (c *reportCmd) Run(ctx context.Context, a *app) error {
	path, err := wavePath(c.Wave, "")
	if err != nil {
		return err
	}
	from, err := a.client()
	if err != nil {
		return err
	}
	var w wave
	if _, err := from.get(ctx, path, &w); err != nil {
		return err
	}
	problems, err := from.problems(ctx, w)
	if err != nil {
		return err
	}
	if c.CSV != "" {
		if err := a.writeCSV(c.CSV, problems); err != nil || c.CSV == "-" {
			return err
		}
	}
	if a.JSON {
		return a.print(problems)
	}
	return a.showProblems(w, problems, c.CSV)
}

// problems reads the reports of all mailboxes, eight at a time, in the wave's order.
func (c client) problems(ctx context.Context, w wave) ([]problem, error) {
	reports := make([]mailboxReport, len(w.Boxes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, b := range w.Boxes {
		g.Go(func() error {
			path, err := wavePath(string(w.ID), string(b.ID))
			if err == nil {
				err = c.again(ctx, path, &reports[i])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := []problem{}
	for _, r := range reports {
		for _, p := range r.Problems {
			p.Mailbox = r.ID
			out = append(out, problem{r.Source, r.Target, p})
		}
	}
	return out, nil
}

func (a *app) showProblems(w wave, problems []problem, file string) error {
	boxes := map[string]bool{}
	for _, p := range problems {
		boxes[string(p.Mailbox)] = true
	}
	if file == "" && len(problems) > 0 {
		rows := [][]string{{"MAILBOX", "SOURCE", "FOLDER", "CLASS", "RECEIVED", "SIZE", "REASON"}}
		for _, p := range problems {
			rows = append(rows, []string{string(p.Mailbox), p.Source, p.Folder, p.Class, when(p.Received), sizeOf(p.Problem), reason(p.Problem)})
		}
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	summary := fmt.Sprintf("%s in %d of %s", count(len(problems), "problem"), len(boxes), count(len(w.Boxes), "mailbox"))
	if file != "" {
		summary += ", written to " + file
	}
	a.line("%s", summary)
	return nil
}

func (a *app) writeCSV(name string, problems []problem) (err error) {
	out := a.out
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return badArgs("write report: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	if err := problemsCSV(out, problems); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func problemsCSV(out io.Writer, problems []problem) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"mailbox", "source", "target", "pass", "folder", "class", "received", "size", "reason", "detail", "about", "seen"}}
	for _, p := range problems {
		rows = append(rows, []string{string(p.Mailbox), p.Source, p.Target, fmt.Sprint(p.Pass), p.Folder, p.Class, when(p.Received),
			fmt.Sprint(p.Size), p.Reason, p.Detail, p.About, when(p.Seen)})
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = inert(cell)
		}
	}
	return w.WriteAll(rows)
}

// inert keeps a spreadsheet from taking a folder's name for a formula.
func inert(cell string) string {
	if strings.IndexAny(cell, "=+-@\t\r") == 0 {
		return "'" + cell
	}
	return cell
}
