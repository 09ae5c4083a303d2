package graphtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// plainRow has every field at its kind's plainest value.
type plainRow struct{}

func (plainRow) field(name string) any {
	switch itemEntity().kinds[name] {
	case moment:
		return time.Unix(0, 0)
	case count:
		return int64(1)
	}
	return "x"
}

func (plainRow) extended(p propID) any {
	if p.multi {
		return []string{"x"}
	}
	return "x"
}

// FuzzQuery: whatever a client sends is parsed or refused with a 4xx, and what was parsed can be evaluated.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"$filter=createdDateTime ge 2021-08-21 and createdDateTime lt 2021-09-16&$select=type,size&$top=1",
		"$filter=not (type eq 'IPM.Note') or size gt 5&$orderby=size desc,type&$count=true",
		"$filter=singleValueExtendedProperties/any(ep: ep/id eq 'String 0x37' and contains(ep/value,'it''s'))",
		"$filter=multiValueExtendedProperties/any(a:a/id eq 'StringArray {00020329-0000-0000-C000-000000000046} Name Keywords' and cast(a/value,Edm.String) eq 'x')",
		"$expand=singleValueExtendedProperties($filter=(id eq 'String 0x0037') or (ep/id eq 'SystemTime 0x0E06'))",
		"$expand=multiValueExtendedProperties($filter=id eq 'BinaryArray 0x1'),singleValueExtendedProperties($filter=id eq 'Integer {00062008-0000-0000-C000-000000000046} Id 0x8208')",
		"$filter=startswith(type,'IPM')", "$filter=((((", "$expand=a(,'", "$skiptoken=x", "a=b;c", "$top=-1",
	} {
		name, value, _ := strings.Cut(s, "=")
		f.Add(name, value)
		f.Add("$filter", s)
	}
	rules := queryRules{allowed: []string{optSelect, optFilter, optTop, optSkip, optOrder, optCount, optExpand}}
	f.Fuzz(func(t *testing.T, name, value string) {
		q, err := parseQuery(url.QueryEscape(name)+"="+url.QueryEscape(value), itemEntity(), rules)
		if err != nil {
			if r := asRefusal(err); r.status != 400 && r.status != 414 {
				t.Errorf("refused with %d: %v", r.status, err)
			}
			return
		}
		if q.filter != nil {
			q.filter.matches(plainRow{})
		}
		for _, p := range append(q.single, q.multi...) {
			again, err := parsePropID(p.format(false))
			if err != nil || again.format(false) != p.format(false) {
				t.Errorf("%q comes back as %q, %v", p.format(false), again.format(false), err)
			}
		}
	})
}

func keep(r io.Reader) (mailbox.Stream, error) {
	b, err := io.ReadAll(r)
	return exchangetest.Bytes(b), err
}

// FuzzImportBody: this parser takes nothing that encoding/json does not take, and reads the same from it.
func FuzzImportBody(f *testing.F) {
	for _, s := range []string{
		`{"FolderId":"EDSVrdi3lRAAEED0yTAAA=","Mode":"create","Data":"AQAAAAgAAAAAAAAAAQAAAAMAAAA="}`,
		`{"Data":"AQ\/\u002B","FolderId":"\ud83d\ude00\"\\","Mode":"update","ItemId":"","ChangeKey":"x"}`,
		`{ "Data" : "" , "Mode":"\n" }`, `{}`, `{"Data":"AQ=="`, `{"Data":"A*"}`, `{"Data":"\u00"}`, `{"Mode":1}`, `[]`, `{"a":"b"}`, "{\"Mode\":\"\x01\"}",
		`{"Mode":"\ud83d"}`, `{"Mode":"\ud83dx\udc00"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := readImport(strings.NewReader(string(in)), keep)
		if err != nil {
			if r := asRefusal(err); r.status != 400 {
				t.Errorf("refused with %d: %v", r.status, err)
			}
			return
		}
		var want struct{ FolderId, Mode, ItemId, ChangeKey, Data string }
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("takes what is not JSON: %v", err)
		}
		if got.FolderID != want.FolderId || got.Mode != want.Mode || got.ItemID != want.ItemId || got.ChangeKey != want.ChangeKey {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if data, err := base64.StdEncoding.DecodeString(want.Data); err != nil || got.Data.Size != int64(len(data)) && got.hasData {
			t.Errorf("%d bytes of data, want %d, %v", got.Data.Size, len(data), err)
		}
	})
}

// FuzzIDs: an id that is taken is the one that was given.
func FuzzIDs(f *testing.F) {
	i := newIDs(uuid.NewSHA1(uuid.NameSpaceURL, []byte("x")))
	f.Add(i.folder(7), i.change(3))
	f.Add(i.item(7, 1<<40), i.shortChange(1<<40))
	f.Add("AAMk", "CQAAABYAAAA")
	f.Fuzz(func(t *testing.T, id, change string) {
		if n, ok, known := i.parse(id, folderEntry); ok && known && len(id) != len(i.folder(n)) {
			t.Errorf("folder %q is %d", id, n)
		}
		if _, ok, _ := i.parse(id, itemEntry); ok && len(id) != len(i.item(1, 1)) {
			t.Errorf("item %q", id)
		}
		if n, ok := i.parseChange(change); ok && n >= 1<<48 {
			t.Errorf("change %q is %d", change, n)
		}
	})
}

// FuzzPaths: any path is routed or refused.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/admin/exchange/mailboxes/MBX%3Ax%40y/folders('in''box')/items/delta()", "users('a')/settings/exchange", "%", "//", "x('')", "a('b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, err := split(path)
		if err == nil {
			_, _, err = match("GET", segments)
		}
		if err != nil && asRefusal(err).status >= 500 {
			t.Errorf("%v", err)
		}
	})
}
