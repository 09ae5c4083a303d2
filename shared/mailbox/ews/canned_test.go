package ews_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
)

// exchange answers with text that a test gives, to try what a well-behaved simulator never says. It signs in by Basic
// and knows only the root folder by itself.
type exchange struct {
	*httptest.Server
	t      *testing.T
	answer map[string]func(w http.ResponseWriter, body string) // by operation
	clock  *clockwork.FakeClock

	mu       sync.Mutex
	requests []string // bodies
	headers  []http.Header
}

func newExchange(t *testing.T) *exchange {
	t.Helper()
	x := &exchange{t: t, answer: map[string]func(http.ResponseWriter, string){}, clock: clockwork.NewFakeClock()}
	x.on("GetFolder", rootOnly)
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

// on sets what an operation is answered with: a whole envelope.
func (x *exchange) on(operation string, answer func(body string) string) {
	x.answer[operation] = func(w http.ResponseWriter, body string) { io.WriteString(w, answer(body)) }
}

// fails sets a status and a body for an operation.
func (x *exchange) fails(operation string, status int, body string) {
	x.answer[operation] = func(w http.ResponseWriter, _ string) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

var operations = regexp.MustCompile(`<s:Body><m:(\w+)`)

func (x *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	x.mu.Lock()
	x.requests, x.headers = append(x.requests, string(b)), append(x.headers, r.Header)
	x.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user != `CORP\svc` || password != "secret" {
		w.Header().Set("WWW-Authenticate", "Basic realm=test")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m := operations.FindStringSubmatch(string(b))
	if m == nil || x.answer[m[1]] == nil {
		x.t.Errorf("unexpected request %s", b)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	x.answer[m[1]](w, string(b))
}

func (x *exchange) sent(operation string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, r := range x.requests {
		if strings.Contains(r, "<s:Body><m:"+operation+">") || strings.Contains(r, "<s:Body><m:"+operation+" ") {
			n++
		}
	}
	return n
}

func (x *exchange) client(change ...func(*ews.Options)) *ews.Client {
	x.t.Helper()
	o := ews.Options{URL: x.URL + "/EWS/Exchange.asmx", Auth: login.Basic, Clock: x.clock,
		Accounts: []ews.Account{{User: "svc", Password: "secret", Domain: "CORP"}}}
	for _, f := range change {
		f(&o)
	}
	c, err := ews.New(o)
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

func (x *exchange) open() *ews.Source {
	x.t.Helper()
	s, err := x.client().Open(x.t.Context(), "user@corp.test")
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// tick lets the fake clock run as long as the test does, for what waits between attempts.
func (x *exchange) tick() {
	ctx := x.t.Context()
	go func() {
		for x.clock.BlockUntilContext(ctx, 1) == nil {
			x.clock.Advance(time.Second)
		}
	}()
}

const namespaces = ` xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"`

// answered wraps response messages of an operation as Exchange does.
func answered(operation, messages string) string {
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>` +
		`<h:ServerVersionInfo MajorVersion="15" MinorVersion="1" xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>` +
		`<m:` + operation + `Response` + namespaces + `><m:ResponseMessages>` + messages +
		`</m:ResponseMessages></m:` + operation + `Response></s:Body></s:Envelope>`
}

func ok(operation, content string) string {
	return `<m:` + operation + `ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` + content +
		`</m:` + operation + `ResponseMessage>`
}

func refused(operation, code string, values ...string) string {
	s := `<m:` + operation + `ResponseMessage ResponseClass="Error"><m:MessageText>Someone, user@corp.test.</m:MessageText><m:ResponseCode>` +
		code + `</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>`
	if len(values) > 0 {
		s += `<m:MessageXml><t:Value Name="` + values[0] + `">` + values[1] + `</t:Value></m:MessageXml>`
	}
	return s + `</m:` + operation + `ResponseMessage>`
}

func fault(code string, values ...string) string {
	s := `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode xmlns:a="t">a:` + code + `</faultcode>` +
		`<faultstring xml:lang="en-US">Someone, user@corp.test.</faultstring><detail><e:ResponseCode xmlns:e="e">` + code + `</e:ResponseCode>`
	if len(values) > 0 {
		s += `<t:MessageXml xmlns:t="t"><t:Value Name="` + values[0] + `">` + values[1] + `</t:Value></t:MessageXml>`
	}
	return s + `</detail></s:Fault></s:Body></s:Envelope>`
}

func folder(kind, id, parent, name, more string) string {
	return `<t:` + kind + `><t:FolderId Id="` + id + `" ChangeKey="c"/><t:ParentFolderId Id="` + parent + `" ChangeKey="c"/>` +
		`<t:DisplayName>` + name + `</t:DisplayName>` + more + `</t:` + kind + `>`
}

var named = regexp.MustCompile(`DistinguishedFolderId Id="(\w+)"`)

// rootOnly knows msgfolderroot and no other well-known folder.
func rootOnly(body string) string { return byName(map[string]string{})(body) }

func byName(ids map[string]string) func(string) string {
	return func(body string) string {
		var b strings.Builder
		for _, m := range named.FindAllStringSubmatch(body, -1) {
			id := ids[m[1]]
			if m[1] == "msgfolderroot" {
				id = "root"
			}
			if id == "" {
				b.WriteString(refused("GetFolder", "ErrorFolderNotFound"))
				continue
			}
			b.WriteString(ok("GetFolder", `<m:Folders><t:Folder><t:FolderId Id="`+id+`" ChangeKey="c"/></t:Folder></m:Folders>`))
		}
		return answered("GetFolder", b.String())
	}
}

var offsets = regexp.MustCompile(`MaxEntriesReturned="(\d+)" Offset="(\d+)"`)

// view answers FindItem or FindFolder for rows that may change from call to call. short says how many rows a page has
// at most.
func view(operation, list string, short int, rows func(call int) []string) func(string) string {
	call := 0
	return func(body string) string {
		m := offsets.FindStringSubmatch(body)
		size, _ := strconv.Atoi(m[1])
		offset, _ := strconv.Atoi(m[2])
		all := rows(call)
		call++
		from := min(offset, len(all))
		to := min(from+min(size, short), len(all))
		return answered(operation, ok(operation, fmt.Sprintf(
			`<m:RootFolder IndexedPagingOffset="%d" TotalItemsInView="%d" IncludesLastItemInRange="%v"><t:%s>%s</t:%s></m:RootFolder>`,
			to, len(all), to == len(all), list, strings.Join(all[from:to], ""), list)))
	}
}

func message(id string) string {
	return `<t:Message><t:ItemId Id="` + id + `" ChangeKey="c"/><t:ItemClass>IPM.Note</t:ItemClass></t:Message>`
}

func messages(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, message(fmt.Sprint(i)))
	}
	return out
}

func exported(content string) string {
	return ok("ExportItems", `<m:ItemId Id="x" ChangeKey="c"/><m:Data>`+base64.StdEncoding.EncodeToString([]byte(content))+`</m:Data>`)
}

var itemIDs = regexp.MustCompile(`<t:ItemId Id="([^"]*)"/>`)

// asked are the ids in an export request.
func asked(body string) []string {
	var out []string
	for _, m := range itemIDs.FindAllStringSubmatch(body, -1) {
		out = append(out, m[1])
	}
	return out
}

// listed drains a listing.
func listed(t *testing.T, items iter.Seq2[mailbox.Item, error]) ([]string, error) {
	t.Helper()
	var out []string
	for it, err := range items {
		if err != nil {
			return out, err
		}
		out = append(out, string(it.ID))
	}
	return out, nil
}

// exports runs an export and tells it, one line per item.
func exports(t *testing.T, s mailbox.Source, ids ...mailbox.ItemID) (string, error) {
	t.Helper()
	var b strings.Builder
	err := s.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		fmt.Fprintf(&b, "%d ", i)
		if err == nil {
			var text []byte
			text, err = io.ReadAll(r)
			fmt.Fprintf(&b, "%s", text)
		}
		if err != nil {
			fmt.Fprintf(&b, "(%v)", err)
		}
		b.WriteByte('\n')
		return nil
	})
	return b.String(), err
}

// tlsOf is the configuration that trusts a test server.
func tlsOf(rt http.RoundTripper) *tls.Config { return rt.(*http.Transport).TLSClientConfig }
