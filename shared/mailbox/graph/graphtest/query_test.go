package graphtest_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

var publicStrings = [16]byte{0x29, 0x03, 0x02, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46}

func threeItems(t *testing.T) *world {
	w := newWorld(t, graphtest.Options{})
	w.add("inbox", "alpha", fts.Property{ID: 0x8001, Type: fts.Int32, Value: int32(7), Name: &fts.Name{Set: publicStrings, LID: 0x8208}})
	w.clock.Advance(24 * time.Hour)
	w.add("inbox", "o'brien", fts.Property{ID: 0x8002, Type: fts.Unicode | fts.Multi, Value: []string{"Red", "Blue"}, Name: &fts.Name{Set: publicStrings, Text: "Keywords"}})
	w.clock.Advance(24 * time.Hour)
	w.add("inbox", "gamma", fts.Property{ID: 0x0017, Type: fts.Int32, Value: int32(2)})
	w.token = w.s.Token() // the first has expired
	return w
}

func TestFilters(t *testing.T) {
	t.Parallel()
	w := threeItems(t)
	const any1 = "singleValueExtendedProperties/any(ep: ep/id eq "
	for _, c := range []struct{ filter, want string }{
		{"createdDateTime ge 2026-11-03", "gamma o'brien"},
		{"createdDateTime gt 2026-11-03T09:00:00Z", "gamma"},
		{"createdDateTime lt 2026-11-03T09:00:00.5Z and createdDateTime ge 2026-11-03T10:00:00+01:00", "o'brien"},
		{"type eq 'ipm.note'", "gamma o'brien alpha"},
		{"type ne 'IPM.Note'", ""},
		{"not (type eq 'IPM.Task') and (createdDateTime le 2026-11-02 or createdDateTime ge 2026-11-04)", "gamma"},
		{"size gt 100 AND size lt 100000", "gamma o'brien alpha"},
		{"startswith(type,'ipm.N')", "gamma o'brien alpha"},
		{"contains(type, 'task')", ""},
		{any1 + "'String 0x0037' and ep/value eq 'O''BRIEN')", "o'brien"},
		{any1 + "'String 0x37' and contains(ep/value,'mm'))", "gamma"},
		{any1 + "'String 0x37' and ep/value ne 'a;b')", "gamma o'brien alpha"},
		{any1 + "'Integer 0x17' and ep/value eq '2')", "gamma"},
		{any1 + "'Integer 0x17' and cast(ep/value, Edm.Int32) gt 1)", "gamma"},
		{any1 + "'Integer {00020329-0000-0000-C000-000000000046} Id 0x8208' and ep/value ne '8')", "alpha"},
		{any1 + "'SystemTime 0x0E06' and ep/value lt 2024-05-06T07:08:10Z)", "gamma o'brien alpha"},
		{any1 + "'SystemTime 0x0E06' and ep/value lt '2024-05-06T07:08:09Z')", ""},
		{any1 + "'String 0x0E06' and ep/value ne 'x')", ""},
		{"multiValueExtendedProperties/any(ep:ep/id eq 'StringArray {00020329-0000-0000-c000-000000000046} Name Keywords' and ep/value eq 'blue')", "o'brien"},
	} {
		var p page
		r := w.get("/folders/inbox/items?$filter=" + strings.ReplaceAll(c.filter, "+", "%2B") + "&$expand=singleValueExtendedProperties($filter=id eq 'String 0x37')")
		if r.Status != 200 {
			t.Errorf("%s: %s", c.filter, r.Body)
			continue
		}
		r.into(&p)
		var got []string
		for _, v := range p.Value {
			got = append(got, v["singleValueExtendedProperties"].([]any)[0].(map[string]any)["value"].(string))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %q, want %q", c.filter, g, c.want)
		}
	}
}

func TestExtendedProperties(t *testing.T) {
	t.Parallel()
	w := threeItems(t)
	upper := graphtest.New(t, graphtest.Options{UpperHex: true, Clock: w.clock})
	upper.AddMailbox(w.m)
	read := func(expand string) string {
		t.Helper()
		var p page
		w.get("/folders/inbox/items?$orderby=createdDateTime&$top=2&$expand=" + expand).must(200).into(&p)
		return fmt.Sprint(p.Value[0]["singleValueExtendedProperties"], p.Value[1]["singleValueExtendedProperties"], p.Value[1]["multiValueExtendedProperties"], p.Value[1]["categories"])
	}
	for _, c := range []struct{ name, expand, want string }{
		{"absent", "singleValueExtendedProperties($filter=id eq 'String 0x1000')", "<nil> <nil> <nil> [Red Blue]"},
		{"other type", "singleValueExtendedProperties($filter=id eq 'Boolean 0x0E07')", "<nil> <nil> <nil> [Red Blue]"},
		{"named by number", "SingleValueExtendedProperties($filter=Id eq 'integer {00020329-0000-0000-C000-000000000046} id 0x08208')", "[map[id:Integer {00020329-0000-0000-c000-000000000046} Id 0x8208 value:7]] <nil> <nil> [Red Blue]"},
		{"integers of any width", "singleValueExtendedProperties($filter=id eq 'Long 0x0E07' or id eq 'Short 0x0E07')", "[map[id:Long 0xe07 value:1] map[id:Short 0xe07 value:1]] [map[id:Long 0xe07 value:1] map[id:Short 0xe07 value:1]] <nil> [Red Blue]"},
		{"boolean", "singleValueExtendedProperties($filter=id eq 'Boolean 0x0E1B')", "[map[id:Boolean 0xe1b value:false]] [map[id:Boolean 0xe1b value:false]] <nil> [Red Blue]"},
		{"multiple", "multiValueExtendedProperties($filter=id eq 'StringArray {00020329-0000-0000-C000-000000000046} Name Keywords'),singleValueExtendedProperties($filter=id eq 'String 0x5D01')", "<nil> <nil> [map[id:StringArray {00020329-0000-0000-c000-000000000046} Name Keywords value:[Red Blue]]] [Red Blue]"},
	} {
		if got := read(c.expand); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	binary := read("singleValueExtendedProperties($filter=ep/id eq 'Binary 0x65E0')")
	if !strings.Contains(binary, "id:Binary 0x65e0 value:") {
		t.Errorf("binary %s", binary)
	}
	var p page
	r := w.do("GET", strings.Replace(w.at("/folders/inbox/items?$expand=singleValueExtendedProperties($filter=id eq 'SystemTime 0x0e06')"), w.s.URL(), upper.URL(), 1), nil,
		"Authorization", "Bearer "+upper.Token())
	if r.Status == 404 { // another tenant has another mailbox id
		r = w.do("GET", upper.URL()+"/admin/exchange/mailboxes/"+upper.MailboxID(w.m)+"/folders/inbox/items?$expand="+url.QueryEscape("singleValueExtendedProperties($filter=id eq 'SystemTime 0x0e06')"), nil,
			"Authorization", "Bearer "+upper.Token())
	}
	if r.must(200).into(&p); !strings.Contains(fmt.Sprint(p.Value[0]), "id:SystemTime 0xE06 ") {
		t.Errorf("upper case: %v", p.Value[0])
	}
}

func TestSelectedPropertiesAreShown(t *testing.T) {
	t.Parallel()
	w := threeItems(t)
	for query, want := range map[string]string{
		"$select=Size": "@odata.etag @odata.type id size",
		"$select=type,singleValueExtendedProperties&$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')": "@odata.etag @odata.type id singleValueExtendedProperties type",
		"$select=id&$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')":                                 "@odata.etag @odata.type id singleValueExtendedProperties",
	} {
		var p page
		w.get("/folders/inbox/items?$top=1&" + query).must(200).into(&p)
		if got := strings.Join(slices.Sorted(maps.Keys(p.Value[0])), " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := threeItems(t)
	for _, q := range []string{
		"$unknown=1", "$search=\"x\"", "$top=x", "$top=-1", "$top=0", "$top=1001", "$skip=-1", "$count=yes", "$select=subject", "$orderby=subject",
		"$orderby=size sideways", "$orderby=", "$orderby=categories", "$top=1&$top=2", "$top=1&$Top=2", "$skiptoken=x",
		"$filter=", "$filter=type", "$filter=type eq", "$filter=type eq 'x", "$filter=type = 'x'", "$filter=subject eq 'x'", "$filter=type eq 5",
		"$filter=size eq 'x'", "$filter=createdDateTime ge 'yesterday'", "$filter=type eq 'x' type eq 'y'", "$filter=(type eq 'x'", "$filter=type eq 'x')",
		"$filter=type eq 'x' and", "$filter=startswith(type)", "$filter=contains(type,5)", "$filter=startswith(size,'1')", "$filter=not", "$filter=type gt null",
		"$filter=" + strings.Repeat("(", 60) + "type eq 'x'" + strings.Repeat(")", 60), "$filter=" + strings.Repeat("not ", 60) + "type eq 'x'",
		"$filter=singleValueExtendedProperties/any(ep: ep/value eq 'x')", "$filter=singleValueExtendedProperties/any(ep: ep/id eq 'Nope 0x1' and ep/value eq 'x')",
		"$filter=singleValueExtendedProperties/any(ep: x/id eq 'String 0x37')", "$filter=singleValueExtendedProperties/any(ep: ep/id ne 'String 0x37')",
		"$filter=singleValueExtendedProperties/any(ep: ep/id eq 'StringArray 0x37')", "$filter=attachments/any(a: a/id eq 'String 0x37')",
		"$expand=attachments", "$expand=singleValueExtendedProperties", "$expand=singleValueExtendedProperties($filter=id eq 'String 0x37'",
		"$expand=singleValueExtendedProperties($select=id)", "$expand=singleValueExtendedProperties($filter=value eq 'String 0x37')",
		"$expand=singleValueExtendedProperties($filter=id eq 'String 0x37' and id eq 'String 0x38')", "$expand=singleValueExtendedProperties($filter=id eq 'String 37')",
		"$expand=singleValueExtendedProperties($filter=id eq 'String 0x8000')", "$expand=singleValueExtendedProperties($filter=id eq 'String {1} Name x')",
		"$expand=singleValueExtendedProperties($filter=id eq 'String {00020329-0000-0000-C000-000000000046} Nom x')",
		"$expand=multiValueExtendedProperties($filter=id eq 'String 0x37')", "$expand=singleValueExtendedProperties($filter=id eq 5)",
		"$expand=singleValueExtendedProperties($filter=id eq 'String 0x37'" + strings.Repeat(" or id eq 'String 0x37'", 200) + ")",
		"%zz=1",
	} {
		r := w.get("/folders/inbox/items?" + q)
		if r.Status != 400 || r.code() != "BadRequest" {
			t.Errorf("%.80s: %d %s", q, r.Status, r.Body)
		}
	}
	if r := w.get("/folders/inbox/items?top=1&filter=nonsense&x=y"); r.Status != 200 {
		t.Errorf("parameters without $ in v1.0: %d", r.Status)
	}
	beta := strings.Replace(w.at("/folders/inbox/items?top=1"), "/v1.0/", "/beta/", 1)
	var p page
	if w.do("GET", beta, nil).must(200).into(&p); len(p.Value) != 1 || !strings.Contains(p.Next, "/beta/") {
		t.Errorf("options without $ in beta: %+v", p)
	}
}
