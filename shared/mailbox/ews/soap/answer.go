// Package soap decodes the answers of Exchange Web Services to everything but exports, which the package scan reads.
// An answer is read from a stream, and what is kept of it is bounded.
package soap

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of one answer: 512 entries are asked for, and 20 folders by name.
const (
	maxEntries  = 10_000
	maxMessages = 1_000
	maxDepth    = 64
	maxValues   = 64
)

// ErrNotSOAP is what a page of a proxy or of Outlook on the web gets.
var ErrNotSOAP = errors.New("the answer is not a SOAP envelope, check that the URL is that of EWS")

// Message is one response message, or a fault.
type Message struct {
	Fault   bool
	Code    string            // "NoError", "ErrorFolderNotFound", …
	Values  map[string]string // of MessageXml
	Entries []Entry
	Next    int    // IndexedPagingOffset, -1 when absent
	Last    bool   // IncludesLastItemInRange
	State   string // SyncState
}

// Entry is one folder, item or change.
type Entry struct {
	XMLName  xml.Name   // Message, CalendarFolder, ReadFlagChange, …
	Change   string     `xml:"-"` // what it stands in: Items, Folders, Create or Update; its own name for other changes
	Item     ID         `xml:"ItemId"`
	Folder   ID         `xml:"FolderId"`
	Parent   ID         `xml:"ParentFolderId"`
	Name     string     `xml:"DisplayName"`
	Class    string     `xml:"FolderClass"`
	Kind     string     `xml:"ItemClass"`
	Total    string     `xml:"TotalCount"`
	Extended []Extended `xml:"ExtendedProperty"`
}

// ID is an id with its change key.
type ID struct {
	ID        string `xml:"Id,attr"`
	ChangeKey string `xml:"ChangeKey,attr"`
}

// Extended is a MAPI property.
type Extended struct {
	URI struct {
		Tag string `xml:"PropertyTag,attr"` // "0x0e08", "0xE08" or "3592"
	} `xml:"ExtendedFieldURI"`
	Value string `xml:"Value"`
}

// Decode reads an answer. Element names count without their namespace.
func Decode(r io.Reader) ([]Message, error) {
	w := walk{d: xml.NewDecoder(newCleaner(r))}
	for {
		t, err := w.d.Token()
		if err == io.EOF && w.seen {
			return w.done, nil
		}
		if err != nil {
			return nil, w.bad(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			err = w.start(t)
		case xml.EndElement:
			w.end()
		}
		if err != nil {
			return nil, w.bad(err)
		}
	}
}

// walk is a decoding under way.
type walk struct {
	d    *xml.Decoder
	open []string // local names of the open elements
	seen bool     // the envelope
	cur  *Message // nil between messages
	at   int      // len(open) outside of cur
	done []Message
}

func (w *walk) bad(err error) error {
	if !w.seen {
		return ErrNotSOAP
	}
	return fmt.Errorf("read answer: offset %d: %w", w.d.InputOffset(), err)
}

func (w *walk) start(t xml.StartElement) error {
	name := t.Name.Local
	switch {
	case !w.seen && name != "Envelope":
		return ErrNotSOAP
	case len(w.open) >= maxDepth:
		return fmt.Errorf("elements are nested deeper than %d", maxDepth)
	case w.cur == nil && (name == "Fault" || strings.HasSuffix(name, "ResponseMessage")):
		w.cur, w.at = &Message{Fault: name == "Fault", Next: -1}, len(w.open)
	case w.cur != nil && w.isEntry(name):
		return w.entry(t)
	case w.cur != nil && isText(name):
		return w.text(t)
	case w.cur != nil && name == "RootFolder":
		w.cur.page(t.Attr)
	}
	w.seen = true
	w.open = append(w.open, name)
	return nil
}

func (w *walk) end() {
	w.open = w.open[:len(w.open)-1]
	if w.cur != nil && len(w.open) == w.at {
		if len(w.done) < maxMessages {
			w.done = append(w.done, *w.cur)
		}
		w.cur = nil
	}
}

func (w *walk) isEntry(name string) bool {
	switch w.open[len(w.open)-1] {
	case "Items", "Folders", "Create", "Update":
		return true
	case "Changes":
		return name != "Create" && name != "Update"
	}
	return false
}

func (w *walk) entry(t xml.StartElement) error {
	if len(w.cur.Entries) >= maxEntries {
		return fmt.Errorf("more than %d entries in one answer", maxEntries)
	}
	e := Entry{Change: w.open[len(w.open)-1]}
	if e.Change == "Changes" {
		e.Change = t.Name.Local
	}
	if err := w.d.DecodeElement(&e, &t); err != nil {
		return err
	}
	w.cur.Entries = append(w.cur.Entries, e)
	return nil
}

func isText(name string) bool {
	switch name {
	case "ResponseCode", "faultcode", "Value", "SyncState", "IncludesLastItemInRange":
		return true
	}
	return false
}

func (w *walk) text(t xml.StartElement) error {
	var s string
	if err := w.d.DecodeElement(&s, &t); err != nil {
		return err
	}
	s, m := strings.TrimSpace(s), w.cur
	switch t.Name.Local {
	case "ResponseCode":
		m.Code = s
	case "faultcode":
		if m.Code == "" {
			m.Code = s[strings.LastIndexByte(s, ':')+1:]
		}
	case "SyncState":
		m.State = s
	case "IncludesLastItemInRange":
		m.Last = s == "true"
	case "Value":
		if m.Values == nil {
			m.Values = map[string]string{}
		}
		if len(m.Values) < maxValues {
			m.Values[attribute(t.Attr, "Name")] = s
		}
	}
	return nil
}

// page reads the attributes of a RootFolder.
func (m *Message) page(attrs []xml.Attr) {
	m.Last = attribute(attrs, "IncludesLastItemInRange") == "true"
	if n, err := strconv.Atoi(attribute(attrs, "IndexedPagingOffset")); err == nil {
		m.Next = n
	}
}

func attribute(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
