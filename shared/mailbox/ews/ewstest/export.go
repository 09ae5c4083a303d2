package ewstest

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

const (
	batchTime  = time.Minute // after which ExportItems stops
	truncation = "=== Truncated Data ==="
)

// exportItems writes each item's stream as it reads it. There is no cap on the number of ids but the minute: "at most
// 100" in the documentation is advice.
func (c *call) exportItems() *fault {
	return c.respond(func() {
		began, done, stopped := c.s.o.Clock.Now(), 0, false
		for _, e := range c.op.child("ItemIds").kids {
			stopAfter, slow := c.s.faults.exportPace()
			if c.s.o.Clock.Since(began) > batchTime || stopAfter > 0 && done >= stopAfter {
				if !stopped {
					c.s.faults.strikes(IsStopped)
				}
				stopped = true
				p := newProblem("ErrorBatchProcessingStopped")
				p.warning = true
				c.refuse(p, nil)
				continue
			}
			c.wait(slow)
			c.export(e)
			done++
		}
	})
}

// wait lets time pass on the server's clock.
func (c *call) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-c.s.o.Clock.After(d):
	case <-c.r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

func (c *call) export(e *element) {
	if x, ok := decodeID(e.attr("Id")); ok && x.item != 0 {
		c.s.faults.beforeExport(itemKey{x.mailbox, x.item})
	}
	r, p := c.item(e)
	if p == nil {
		if p = c.s.faults.problem(key(r.m, r.item.ID)); p != nil {
			c.s.faults.strikes(IsRefused)
		}
	}
	if p == nil && !r.current(e) {
		p = newProblem("ErrorInvalidChangeKey")
	}
	if p != nil {
		c.refuse(p, nil)
		return
	}
	body, err := r.item.Stream.Open(c.r.Context())
	if err != nil {
		c.refuse(newProblem("ErrorItemCorrupt"), nil)
		return
	}
	defer func() { _ = body.Close() }()
	c.success(func() {
		c.w.empty("m:ItemId", "Id", ItemID(r.m, r.item), "ChangeKey", ChangeKey(r.m, r.item))
		c.w.open("m:Data")
		c.data(r, body)
		c.w.close("m:Data")
	})
}

// data writes base64 in lines. What is to be truncated or cut ends at two thirds.
func (c *call) data(r ref, body io.Reader) {
	k := key(r.m, r.item.ID)
	truncated, cut := c.s.faults.isTruncated(k), c.s.faults.takeCut(k)
	if cut {
		c.s.faults.strikes(IsCut)
	} else if truncated {
		c.s.faults.strikes(IsTruncated)
	}
	if truncated || cut {
		body = io.LimitReader(body, r.item.Stream.Size*2/3)
	}
	if truncated {
		body = io.MultiReader(body, strings.NewReader(truncation))
	}
	enc := base64.NewEncoder(base64.StdEncoding, &lines{w: c.w})
	if _, err := io.Copy(enc, body); err != nil || cut {
		_ = c.w.b.Flush()
		panic(http.ErrAbortHandler)
	}
	_ = enc.Close()
}

// lines breaks what is written through it every 76 characters.
type lines struct {
	w   *writer
	col int
}

func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if l.col == 76 {
			l.w.raw("\r\n")
			l.col = 0
		}
		part := b[:min(len(b), 76-l.col)]
		if _, err := l.w.b.Write(part); err != nil {
			return 0, err
		}
		l.col += len(part)
		b = b[len(part):]
	}
	return n, nil
}

func (c *call) uploadItems() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("Items").kids {
			r, p := c.upload(e)
			if p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(func() { c.w.empty("m:ItemId", "Id", ItemID(r.m, r.item), "ChangeKey", ChangeKey(r.m, r.item)) })
		}
	})
}

func (c *call) upload(e *element) (ref, *problem) {
	parent, p := c.byFolderID(e.child("ParentFolderId").attr("Id"))
	if p != nil {
		return ref{}, p
	}
	if e.attr("IsAssociated") == "true" || e.attr("IsAssociated") == "1" { // associated items are not simulated
		return ref{}, newProblem("ErrorInvalidOperation")
	}
	data := e.child("Data").text
	if c.s.o.MaxUpload > 0 && int64(len(data)) > c.s.o.MaxUpload {
		return ref{}, newProblem("ErrorDataSizeLimitExceeded")
	}
	s, err := parent.m.Keep(base64.NewDecoder(base64.StdEncoding, strings.NewReader(spaceless(data))))
	if err != nil {
		return ref{}, newProblem("ErrorCorruptData")
	}
	if e.attr("CreateAction") == "CreateNew" {
		return c.addStream(parent, s)
	}
	return c.replaceStream(e, parent, s)
}

// spaceless drops the white space that base64 in XML may hold.
func spaceless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, s)
}

func (c *call) addStream(parent ref, s mailbox.Stream) (ref, *problem) {
	it, err := parent.m.Add(parent.folder.ID, s)
	if err != nil {
		return ref{}, uploadProblem(err)
	}
	return ref{m: parent.m, item: it}, nil
}

func (c *call) replaceStream(e *element, parent ref, s mailbox.Stream) (ref, *problem) {
	id := e.child("ItemId")
	orCreate := e.attr("CreateAction") == "UpdateOrCreate"
	if id == nil {
		return ref{}, newProblem("ErrorInvalidIdEmpty")
	}
	r, p := c.item(id)
	if p != nil {
		if p.code == "ErrorItemNotFound" && orCreate {
			return c.addStream(parent, s)
		}
		return ref{}, p
	}
	change, _ := changeOf(id.attr("ChangeKey"))
	it, err := r.m.Replace(r.item.ID, change, s)
	if err != nil {
		return ref{}, uploadProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}

func uploadProblem(err error) *problem {
	var format *fts.FormatError
	if errors.As(err, &format) {
		return newProblem("ErrorCorruptData")
	}
	if errors.Is(err, exchangetest.ErrChanged) {
		return newProblem("ErrorIrresolvableConflict")
	}
	return storeProblem(err)
}
