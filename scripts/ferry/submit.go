package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/submitter"
)

type submitCmd struct {
	File    string `arg:"" help:"CSV or JSON file; - reads standard input."`
	Name    string `help:"What people call the wave."`
	Start   moment `placeholder:"TIME" help:"When its mailboxes begin, like 2026-12-01T22:00:00Z. At once if not given."`
	Cutover moment `placeholder:"TIME" help:"When the last pass begins. If not given, the first pass is the last."`
}

// moment is a time on the command line.
type moment struct{ time.Time }

// UnmarshalText reads RFC 3339.
func (m *moment) UnmarshalText(b []byte) (err error) {
	if m.Time, err = time.Parse(time.RFC3339, string(b)); err != nil {
		return errors.New("want a time like 2026-12-01T22:00:00Z")
	}
	return nil
}

// Help is the long text of ferry submit --help.
func (submitCmd) Help() string {
	return `A CSV file begins with the line source,target; each further line is a mailbox's two SMTP addresses. The columns
start and cutover are optional. JSON is {"name":"…","start":"…","cutover":"…","mailboxes":[{"source":"…","target":"…"}]}.
If anything is wrong, every fault is printed and nothing is submitted.`
}

// maxBatch is what the app takes.
const maxBatch = 16 << 20

func (c *submitCmd) Run(ctx context.Context, a *app) error {
	b, isJSON, err := c.read(a)
	if err != nil {
		return err
	}
	batch, err := c.parse(b, isJSON)
	where := place(isJSON)
	if bad, ok := errors.AsType[*submitter.BatchError](err); ok {
		return a.faults(bad.Faults, where)
	}
	if err != nil {
		return badArgs("%s: %w", c.File, err)
	}
	to, err := a.client()
	if err != nil {
		return err
	}
	body, err := json.Marshal(batch)
	if err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	var got struct {
		Wave      string `json:"wave"`
		Mailboxes int    `json:"mailboxes"`
	}
	answer, err := to.call(ctx, request{http.MethodPost, "/api/batches", body, "application/json"}, &got)
	if e, ok := errors.AsType[*callError](err); ok && len(e.faults) > 0 {
		return a.faults(batchLines(e.faults, batch), where)
	}
	if err != nil {
		return c.unsure(err)
	}
	if a.JSON {
		return a.raw(answer)
	}
	a.line("submitted %s as wave %s\nfollow it: ferry watch %s", count(got.Mailboxes, "mailbox"), clean(got.Wave), clean(got.Wave))
	return nil
}

// unsure warns when the batch may have been submitted though no answer came.
func (c *submitCmd) unsure(err error) error {
	e, ok := errors.AsType[*callError](err)
	if !ok || e.status != 0 && e.status != http.StatusBadGateway && e.status != http.StatusGatewayTimeout {
		return err
	}
	return fmt.Errorf("%w\nif the batch did arrive, submitting it again is refused line by line: the mailboxes are in a wave already", err)
}

// read reads the file and says whether it is JSON: by its name, else by how it begins.
func (c *submitCmd) read(a *app) (b []byte, isJSON bool, err error) {
	in := a.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, false, badArgs("read batch: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err = io.ReadAll(io.LimitReader(in, maxBatch+1))
	switch {
	case err != nil:
		return nil, false, badArgs("read batch: %w", err)
	case len(b) > maxBatch:
		return nil, false, badArgs("%s: the batch is larger than 16 MiB; split it", c.File)
	}
	switch strings.ToLower(filepath.Ext(c.File)) {
	case ".json":
		return b, true, nil
	case ".csv":
		return b, false, nil
	}
	return b, bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")), nil
}

// parse reads the batch here, so that its faults are found without a network, and sets what the flags say.
func (c *submitCmd) parse(b []byte, isJSON bool) (submitter.Batch, error) {
	parse := submitter.ParseCSV
	if isJSON {
		parse = submitter.ParseJSON
	}
	batch, err := parse(bytes.NewReader(b))
	if c.Name != "" {
		batch.Name = c.Name
	}
	if !c.Start.IsZero() {
		batch.Start = c.Start.Time
	}
	if !c.Cutover.IsZero() {
		batch.Cutover = c.Cutover.Time
	}
	return batch, err
}

// batchLines turns the mailbox numbers in the app's faults into lines of the file that was read.
func batchLines(faults []submitter.Fault, batch submitter.Batch) []submitter.Fault {
	for i, f := range faults {
		if f.Line > 0 && f.Line <= len(batch.Mailboxes) {
			faults[i].Line = batch.Mailboxes[f.Line-1].Line
		}
	}
	return faults
}

// place is how a mailbox's place is called in this kind of file.
func place(isJSON bool) string {
	if isJSON {
		return "mailbox"
	}
	return "line"
}

// faults prints what is wrong with a batch.
func (a *app) faults(faults []submitter.Fault, place string) error {
	if a.JSON {
		if err := a.print(map[string]any{"error": "nothing was submitted", "faults": faults}); err != nil {
			return err
		}
		return &exitError{code: exitArgs}
	}
	var lines strings.Builder
	for _, f := range faults {
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf("%s %d: ", place, f.Line)
		}
		if f.Column != "" {
			where += f.Column + ": "
		}
		lines.WriteString("\n" + where + clean(f.What))
	}
	return badArgs("nothing was submitted; mend what is listed and submit again%s", lines.String())
}
