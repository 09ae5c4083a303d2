package graphtest

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultPage = 10
	maxPage     = 1000
)

// Collections of extended properties.
const (
	singleValued = "singleValueExtendedProperties"
	multiValued  = "multiValueExtendedProperties"
)

// entity is what a query may ask of a type.
type entity struct {
	name   string
	fields []string // in the order they are answered
	links  []string // what else can be selected, and then expanded
	kinds  map[string]kind
}

type kind int

const (
	text kind = iota
	count
	moment
	list
)

func folderEntity() entity {
	return entity{"microsoft.graph.mailboxFolder",
		[]string{"id", "displayName", "parentFolderId", "parentMailboxUrl", "childFolderCount", "totalItemCount", "wellKnownName", "type"},
		[]string{"childFolders", "items", singleValued, multiValued},
		map[string]kind{"childFolderCount": count, "totalItemCount": count}}
}

func itemEntity() entity {
	return entity{"microsoft.graph.mailboxItem",
		[]string{"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "type", "size"},
		[]string{singleValued, multiValued},
		map[string]kind{"createdDateTime": moment, "lastModifiedDateTime": moment, "categories": list, "size": count}}
}

// property returns a property's own spelling for one in any case.
func (e entity) property(name string) (string, error) {
	for _, f := range e.fields {
		if strings.EqualFold(f, name) {
			return f, nil
		}
	}
	return "", badRequest("Could not find a property named '%s' on type '%s'.", printable(name), e.name)
}

// query is what the options of a request ask for.
type query struct {
	selected []string // nil is everything
	filter   *node
	top      int // 0 when not asked
	skip     int
	order    []term
	count    bool
	single   []propID
	multi    []propID
	expands  bool // singleValueExtendedProperties or multiValue… was asked for
	hidden   bool
	token    string
	tokenFor string // "$skiptoken" or "$deltatoken"
	disposal string
	texts    [][2]string // the options to repeat in a next link, as they came
}

type term struct {
	field string
	desc  bool
}

// names of query options.
const (
	optSelect  = "$select"
	optFilter  = "$filter"
	optTop     = "$top"
	optSkip    = "$skip"
	optOrder   = "$orderby"
	optCount   = "$count"
	optExpand  = "$expand"
	optSkipTok = "$skiptoken"
	optDelta   = "$deltatoken"
)

// parseQuery reads the options of a request for entities of type e. Options outside allowed are a 400. Options
// without "$" are options in beta and otherwise a custom parameter that nobody reads.
func parseQuery(raw string, e entity, o queryRules) (*query, error) {
	if len(raw) > 4*maxExpression {
		return nil, refuse(414, "RequestUriTooLong", "The request URI is too long.")
	}
	values, err := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B")) // it does not take a ";" as it is
	if err != nil {
		return nil, badRequest("The query string is not valid.")
	}
	q := &query{}
	seen := map[string]bool{}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		opt, known := o.option(name)
		if !known {
			return nil, o.unsupported(opt)
		}
		if opt == "" {
			continue
		}
		if seen[opt] || len(values[name]) > 1 {
			return nil, badRequest("Query option '%s' was specified more than once, but it must be specified at most once.", opt)
		}
		seen[opt] = true
		if err := q.set(opt, values[name][0], e); err != nil {
			return nil, err
		}
		if opt != optSkip {
			q.texts = append(q.texts, [2]string{name, values[name][0]})
		}
	}
	return q, nil
}

// queryRules are the options one operation takes.
type queryRules struct {
	allowed []string
	beta    bool
	delta   string // entity set named in the refusal of a delta query, "" elsewhere
}

// option returns the canonical name of an option: "" for a parameter to ignore, known false for a refused one.
func (o queryRules) option(name string) (opt string, known bool) {
	lower := strings.ToLower(name)
	if o.beta && !strings.HasPrefix(lower, "$") && slices.Contains(o.allowed, "$"+lower) {
		lower = "$" + lower
	}
	if slices.Contains(o.allowed, lower) {
		return lower, true
	}
	return strings.ToLower(printable(name)), !strings.HasPrefix(lower, "$")
}

func (o queryRules) unsupported(opt string) error {
	if o.delta != "" {
		return refuse(400, "ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking over the '%s' resource: '%s'.", o.delta, opt)
	}
	return badRequest("The query option '%s' is not supported.", opt)
}

func (q *query) set(opt, v string, e entity) (err error) {
	switch opt {
	case optSelect:
		q.selected, err = parseSelect(v, e)
	case optFilter:
		if q.filter, err = parseFilter(v); err == nil {
			err = q.filter.check(e)
		}
	case optTop:
		q.top, err = parseNumber(opt, v, 1)
		if err == nil && q.top > maxPage {
			err = badRequest("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", maxPage, q.top)
		}
	case optSkip:
		q.skip, err = parseNumber(opt, v, 0)
	case optOrder:
		q.order, err = parseOrder(v, e)
	case optCount:
		q.count, err = parseBool(opt, v)
	case optExpand:
		err = q.parseExpand(v)
	case optSkipTok, optDelta:
		if q.token != "" {
			return badRequest("A request carries one state token.")
		}
		q.token, q.tokenFor = v, opt
		if v == "" {
			err = badRequest("Badly formed token.")
		}
	case "includehiddenfolders":
		q.hidden, err = parseBool("includeHiddenFolders", v)
	case "disposaltype":
		q.disposal = v
	}
	return err
}

func parseNumber(opt, v string, least int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > math.MaxInt32 {
		return 0, badRequest("Invalid value '%s' for %s query option found. The %s query option requires a non-negative integer value.", printable(v), opt, opt)
	}
	return n, nil
}

func parseBool(opt, v string) (bool, error) {
	switch {
	case strings.EqualFold(v, "true"):
		return true, nil
	case strings.EqualFold(v, "false"):
		return false, nil
	}
	return false, badRequest("Invalid value '%s' for %s query option found. Valid values are 'true', 'false'.", printable(v), opt)
}

func parseSelect(v string, e entity) ([]string, error) {
	out := []string{}
	for _, name := range strings.Split(v, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			return nil, nil
		}
		if slices.ContainsFunc(e.links, func(l string) bool { return strings.EqualFold(l, name) }) {
			continue
		}
		f, err := e.property(name)
		if err != nil {
			return nil, badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type '%s'.", printable(name), e.name)
		}
		out = append(out, f)
	}
	return out, nil
}

func parseOrder(v string, e entity) ([]term, error) {
	var out []term
	for _, part := range strings.Split(v, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 {
			return nil, badRequest("The $orderby expression is not valid.")
		}
		f, err := e.property(words[0])
		if err != nil {
			return nil, err
		}
		if e.kinds[f] == list {
			return nil, badRequest("The property '%s' cannot be used in the $orderby query option.", f)
		}
		t := term{field: f}
		if len(words) == 2 {
			t.desc = strings.EqualFold(words[1], "desc")
			if !t.desc && !strings.EqualFold(words[1], "asc") {
				return nil, badRequest("The $orderby expression is not valid.")
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// check resolves the properties of a filter and refuses comparisons of different kinds.
func (n *node) check(e entity) error {
	switch n.op {
	case "and", "or", "not":
		for _, k := range n.kids {
			if err := k.check(e); err != nil {
				return err
			}
		}
		return nil
	case "any":
		return n.checkAny(e)
	}
	f, err := e.property(n.path)
	if err != nil {
		return err
	}
	n.path = f
	return n.checkKind(e)
}

func (n *node) checkKind(e entity) error {
	ok := false
	switch k := e.kinds[n.path]; n.value.(type) {
	case nil:
		ok = n.op == "eq" || n.op == "ne"
	case string:
		ok = k == text
	case int64, float64:
		ok = k == count && n.op != "startswith"
	case time.Time:
		ok = k == moment
	}
	if !ok {
		return badRequest("A binary operator with incompatible types was detected in the filter clause on '%s'.", n.path)
	}
	return nil
}

func (n *node) checkAny(e entity) error {
	single := strings.EqualFold(n.path, singleValued)
	if !single && !strings.EqualFold(n.path, multiValued) {
		return badRequest("Could not find a collection named '%s' on type '%s'.", printable(n.path), e.name)
	}
	if err := n.kids[0].checkLambda(n.alias); err != nil {
		return err
	}
	id, err := n.kids[0].lambdaID()
	if err == nil && id.multi == single {
		return badRequest("Invalid filter clause: the property type does not suit '%s'.", n.path)
	}
	return err
}

func (n *node) checkLambda(alias string) error {
	for _, k := range n.kids {
		if err := k.checkLambda(alias); err != nil {
			return err
		}
	}
	switch n.op {
	case "and", "or", "not":
		return nil
	case "any":
		return badRequest("Invalid filter clause: any() inside any().")
	}
	owner, name, _ := strings.Cut(n.path, "/")
	if owner != alias || !strings.EqualFold(name, "id") && !strings.EqualFold(name, "value") {
		return badRequest("Invalid filter clause: '%s' is not a property of the range variable.", printable(n.path))
	}
	if s, ok := n.value.(string); strings.EqualFold(name, "id") && (!ok || n.op != "eq" || s == "") {
		return badRequest("Invalid filter clause: id takes eq only.")
	}
	return nil
}
