package ewstest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

const (
	address = "anna.berg@corp.test"
	other   = "bo@corp.test"
)

// world is a server with two mailboxes, a service account and an owner.
type world struct {
	t    *testing.T
	s    *Server
	m, b *exchangetest.Mailbox
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	o.Auth = []Scheme{NTLM, Basic}
	w := &world{t: t, s: New(t, o), m: exchangetest.New(address, exchangetest.Options{Clock: o.Clock}), b: exchangetest.New(other, exchangetest.Options{Clock: o.Clock})}
	w.s.AddMailbox(w.m)
	w.s.AddMailbox(w.b)
	w.s.AddAccount("svc", "secret", "CORP", MayImpersonateAll())
	w.s.AddAccount("anna", "geheim", "CORP", Owns(address))
	return w
}

func (w *world) known(name string) exchangetest.Folder {
	w.t.Helper()
	f, err := w.m.Known(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// mail adds a mail with that subject, received that many minutes after nine.
func (w *world) mail(folder, subject string, minute int) exchangetest.Item {
	w.t.Helper()
	return w.add(folder, mailOf(w.t, subject, minute))
}

func mailOf(t *testing.T, subject string, minute int) *fts.Message {
	t.Helper()
	raw := fmt.Sprintf("From: Bo Karl <bo@corp.test>\r\nTo: Anna <anna.berg@corp.test>\r\nSubject: %s\r\nMessage-ID: <m%d@corp.test>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSome text & more.\r\n"+
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n--b--\r\n", subject, minute)
	m, err := compose.MIME(strings.NewReader(raw), compose.Options{Received: time.Date(2026, 2, 3, 9, minute, 0, 0, time.UTC), Seed: subject})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) add(folder string, m *fts.Message) exchangetest.Item {
	w.t.Helper()
	var b bytes.Buffer
	if err := fts.Write(&b, m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		w.t.Fatal(err)
	}
	it, err := w.m.Add(w.known(folder).ID, exchangetest.Bytes(b.Bytes()))
	if err != nil {
		w.t.Fatal(err)
	}
	return it
}

const asAnna = `<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>` + address + `</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>`

func envelope(header, body string) string {
	return `<?xml version="1.0" encoding="utf-8"?><q:Envelope xmlns:q="` + nsSOAP + `" xmlns:m="` + nsMessages + `" xmlns:t="` + nsTypes + `"><q:Header>` +
		header + `</q:Header><q:Body>` + body + `</q:Body></q:Envelope>`
}

const version = `<t:RequestServerVersion Version="Exchange2013_SP1"/>`

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	text   string
	root   *element
}

// ask sends an operation as the service account acting as Anna.
func (w *world) ask(body string) answer {
	w.t.Helper()
	return w.as("svc", "secret", version+asAnna, body)
}

func (w *world) as(user, password, header, body string) answer {
	w.t.Helper()
	a, err := w.send(user, password, envelope(header, body))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) send(user, password, text string) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.s.URL(), strings.NewReader(text))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	r.SetBasicAuth(user, password)
	resp, err := w.s.Client().Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{t: w.t, status: resp.StatusCode, text: string(b)}
	if len(b) > 0 && resp.Header.Get("Content-Type") == "text/xml; charset=utf-8" {
		a.root, err = decodeXML(bytes.NewReader(b))
	}
	return a, err
}

// all returns every element of that local name, in order.
func (a answer) all(local string) []*element {
	var out []*element
	var walk func(e *element)
	walk = func(e *element) {
		if e == nil {
			return
		}
		if e.name.Local == local && e.name.Space != nsSOAP {
			out = append(out, e)
		}
		for _, k := range e.kids {
			walk(k)
		}
	}
	walk(a.root)
	return out
}

func (a answer) texts(local string) string {
	var out []string
	for _, e := range a.all(local) {
		out = append(out, e.text)
	}
	return strings.Join(out, ",")
}

// ids returns an attribute of every element of that name.
func (a answer) attrs(local, attr string) []string {
	var out []string
	for _, e := range a.all(local) {
		out = append(out, e.attr(attr))
	}
	return out
}

// is checks the response codes.
func (a answer) is(codes string) answer {
	a.t.Helper()
	if got := a.texts("ResponseCode"); got != codes {
		a.t.Fatalf("response codes: got %q, want %q\n%s", got, codes, a.text)
	}
	return a
}

// eq compares the texts of an element.
func (a answer) eq(local, want string) answer {
	a.t.Helper()
	if got := a.texts(local); got != want {
		a.t.Fatalf("%s: got %q, want %q\n%s", local, got, want, a.text)
	}
	return a
}

func known(name string) string { return `<t:DistinguishedFolderId Id="` + name + `"/>` }

func itemIDs(m *exchangetest.Mailbox, items ...exchangetest.Item) string {
	s := ""
	for _, it := range items {
		s += `<t:ItemId Id="` + ItemID(m, it) + `"/>`
	}
	return `<m:ItemIds>` + s + `</m:ItemIds>`
}

func find(folder, rest string) string {
	return `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Subject"/></t:AdditionalProperties></m:ItemShape>` +
		rest + `<m:ParentFolderIds>` + known(folder) + `</m:ParentFolderIds></m:FindItem>`
}

func stream(t *testing.T, it exchangetest.Item) []byte {
	t.Helper()
	r, err := it.Stream.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(spaceless(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fakeClock() *clockwork.FakeClock {
	return clockwork.NewFakeClockAt(time.Date(2026, 2, 3, 9, 0, 0, 0, time.UTC))
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
