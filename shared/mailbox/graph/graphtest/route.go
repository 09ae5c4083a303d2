package graphtest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Op is one operation of the API, as counted, limited and broken.
type Op string

// The operations. Any stands for all of them where one is asked for.
const (
	Any           Op = ""
	ReadSettings  Op = "read exchange settings"
	ReadMailbox   Op = "read mailbox"
	ListFolders   Op = "list folders" // also child folders
	ReadFolder    Op = "read folder"
	DeltaFolders  Op = "delta of folders"
	CreateFolder  Op = "create folder"
	UpdateFolder  Op = "update folder"
	DeleteFolder  Op = "delete folder"
	CountFolders  Op = "count folders"
	ListItems     Op = "list items"
	CountItems    Op = "count items"
	ReadItem      Op = "read item"
	DeltaItems    Op = "delta of items"
	DeleteItem    Op = "delete item"
	ExportItems   Op = "export items"
	CreateSession Op = "create import session"
	ImportItem    Op = "import item"
	Batch         Op = "batch"
)

// route is one path with what its methods do. Words in braces name a part.
type route struct {
	path    string
	methods map[string]Op
}

func routes() []route {
	const mailbox = "admin/exchange/mailboxes/{mailbox}"
	const folders = mailbox + "/folders"
	folder := map[string]Op{http.MethodGet: ReadFolder, http.MethodPatch: UpdateFolder, http.MethodDelete: DeleteFolder}
	reference := map[string]Op{http.MethodDelete: DeleteFolder}
	collection := map[string]Op{http.MethodGet: ListFolders, http.MethodPost: CreateFolder}
	delta := map[string]Op{http.MethodGet: DeltaFolders}
	total := map[string]Op{http.MethodGet: CountFolders}
	item := map[string]Op{http.MethodGet: ReadItem, http.MethodDelete: DeleteItem}
	items := func(folder string) []route {
		return []route{
			{folder + "/items", map[string]Op{http.MethodGet: ListItems}},
			{folder + "/items/$count", map[string]Op{http.MethodGet: CountItems}},
			{folder + "/items/delta", map[string]Op{http.MethodGet: DeltaItems}},
			{folder + "/items/{item}", item},
		}
	}
	return slices.Concat([]route{
		{"$batch", map[string]Op{http.MethodPost: Batch}},
		{"users/{user}/settings/exchange", map[string]Op{http.MethodGet: ReadSettings}},
		{mailbox, map[string]Op{http.MethodGet: ReadMailbox}},
		{mailbox + "/exportItems", map[string]Op{http.MethodPost: ExportItems}},
		{mailbox + "/createImportSession", map[string]Op{http.MethodPost: CreateSession}},
		{folders, collection},
		{folders + "/$count", total},
		{folders + "/delta", delta},
		{folders + "/{folder}", folder},
		{folders + "/{folder}/$ref", reference},
		{folders + "/{folder}/childFolders", collection},
		{folders + "/{folder}/childFolders/$count", total},
		{folders + "/{folder}/childFolders/delta", delta},
		{folders + "/{parent}/childFolders/{folder}", folder},
		{folders + "/{parent}/childFolders/{folder}/$ref", reference},
	}, items(folders+"/{folder}"), items(folders+"/{parent}/childFolders/{folder}"))
}

// match finds the operation of a path and the parts it names.
func match(method string, segments []string) (Op, map[string]string, error) {
	for _, r := range routes() {
		parts, ok := r.match(segments)
		if !ok {
			continue
		}
		if op, ok := r.methods[method]; ok {
			return op, parts, nil
		}
		return "", nil, notAllowed("Request_BadRequest", slices.Collect(maps.Keys(r.methods))...)
	}
	return "", nil, badRequest("Resource not found for the segment '%s'.", printable(unknownSegment(segments)))
}

func (r route) match(segments []string) (map[string]string, bool) {
	pattern := strings.Split(r.path, "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	parts := map[string]string{}
	for i, p := range pattern {
		if p[0] == '{' {
			parts[p[1:len(p)-1]] = segments[i]
		} else if !strings.EqualFold(p, segments[i]) {
			return nil, false
		}
	}
	return parts, true
}

// unknownSegment finds the first segment where every route gives up.
func unknownSegment(segments []string) string {
	best := 0
	for _, r := range routes() {
		pattern := strings.Split(r.path, "/")
		n := 0
		for n < len(pattern) && n < len(segments) && (pattern[n][0] == '{' || strings.EqualFold(pattern[n], segments[n])) {
			n++
		}
		best = max(best, n)
	}
	if best >= len(segments) {
		return ""
	}
	return segments[best]
}

// split cuts an escaped path into unescaped segments. A key in parentheses becomes a segment of its own, and a
// function loses its namespace and its parentheses: folders('inbox')/items/delta() is folders, inbox, items, delta.
func split(escaped string) ([]string, error) {
	var out []string
	for _, s := range strings.Split(strings.Trim(escaped, "/"), "/") {
		u, err := url.PathUnescape(s)
		if err != nil || u == "" {
			return nil, badRequest("The request path is not valid.")
		}
		name, key, ok := keyed(u)
		if !ok {
			out = append(out, strings.TrimPrefix(strings.TrimSuffix(u, "()"), "microsoft.graph."))
			continue
		}
		out = append(out, name, key)
	}
	return out, nil
}

// keyed takes name('key') apart.
func keyed(s string) (name, key string, ok bool) {
	name, rest, found := strings.Cut(s, "('")
	key, closed := strings.CutSuffix(rest, "')")
	plain := !slices.ContainsFunc([]byte(name), func(c byte) bool { return c|0x20 < 'a' || c|0x20 > 'z' })
	return name, strings.ReplaceAll(key, "''", "'"), found && closed && plain && name != "" && key != ""
}

// version cuts the API version off a path.
func version(escaped string) (v, rest string, ok bool) {
	v, rest, _ = strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	v = strings.ToLower(v)
	return v, rest, v == "v1.0" || v == "beta"
}
