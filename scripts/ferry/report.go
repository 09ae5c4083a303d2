package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mailferry/mailferry/shared/reporter"
)

type reportCmd struct {
	Wave string `arg:"" help:"The wave's ID, as ferry submit prints it."`
	CSV  string `name:"csv" placeholder:"FILE" help:"Write the problems into a spreadsheet's file; - is standard output."`
}

// Help is the long text of ferry report --help.
func (reportCmd) Help() string {
	return `One line for every item that was skipped, is missing or differs, and for whatever else went wrong: folder, class, date,
size and reason. Subjects and contents are not recorded anywhere. The wave called unreadable has the messages that name no
mailbox; they were set aside.`
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
	if err := from.again(ctx, path+"?problems=true", &w); err != nil {
		return err
	}
	if w.Problems == nil {
		return errors.New("the app does not list problems: it is older than this ferry; deploy it again")
	}
	if c.CSV != "" {
		if err := a.writeCSV(c.CSV, w.Problems); err != nil || c.CSV == "-" {
			return err
		}
	}
	if a.JSON {
		return a.print(w.Problems)
	}
	return a.showProblems(w, c.CSV)
}

func (a *app) showProblems(w wave, file string) error {
	problems := w.Problems
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
	summary := count(len(problems), "problem")
	if w.More {
		summary = "the first " + summary
	}
	if len(w.Boxes) > 0 {
		summary += fmt.Sprintf(" in %d of %s", len(boxes), count(len(w.Boxes), "mailbox"))
	}
	if file != "" {
		summary += ", written to " + file
	}
	a.line("%s", summary)
	return nil
}

func (a *app) writeCSV(name string, problems []reporter.Problem) (err error) {
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

func problemsCSV(out io.Writer, problems []reporter.Problem) error {
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
