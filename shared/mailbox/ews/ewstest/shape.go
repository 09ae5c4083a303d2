package ewstest

import (
	"slices"
	"strings"
)

// shape is what an answer shows of each folder or item.
type shape struct {
	base  string // IdOnly, Default, AllProperties
	uris  map[string]bool
	extra []*extended
	index []path // IndexedFieldURI
	mime  bool
	body  string // HTML, Text, Best
}

func readShape(e *element) (shape, *problem) {
	s := shape{base: e.child("BaseShape").value(), uris: map[string]bool{}, mime: e.child("IncludeMimeContent").isTrue(), body: e.child("BodyType").value()}
	if s.body == "" {
		s.body = "Best"
	}
	add := e.child("AdditionalProperties")
	if add == nil {
		return s, nil
	}
	for _, k := range add.kids {
		p, bad := readPath(k)
		switch {
		case bad != nil:
			return s, bad
		case p.extended != nil:
			s.extra = append(s.extra, p.extended)
		case p.index != "":
			s.index = append(s.index, p)
		default:
			s.uris[p.uri] = true
		}
	}
	return s, nil
}

// Which base shapes show a field.
const (
	inDefault = 1 << iota // Default of GetItem, GetFolder
	inList                // Default of FindItem
	inAll
	byName = 0 // only when asked for
)

func (s shape) shows(uri string, in int, list bool) bool {
	switch {
	case s.uris[uri]:
		return true
	case s.base == "AllProperties":
		return in != byName
	case s.base == "Default" && list:
		return in&inList != 0
	case s.base == "Default":
		return in&inDefault != 0
	}
	return false
}

// hasIndexed says whether entries of a field are asked for one by one.
func (s shape) hasIndexed(uri string) bool {
	return slices.ContainsFunc(s.index, func(p path) bool { return strings.HasPrefix(p.uri, uri) })
}

// entries says which entries of a field are shown: all when the field is, else those asked for by IndexedFieldURI.
func (v *view) entries(uri string, in int) func(part, index string) bool {
	if v.sh.shows(uri, in, v.list) {
		return func(string, string) bool { return true }
	}
	return func(part, index string) bool {
		return slices.ContainsFunc(v.sh.index, func(p path) bool { return p.uri == part && strings.EqualFold(p.index, index) })
	}
}
