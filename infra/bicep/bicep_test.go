package bicep_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mailferry/mailferry/infra/bicep"
)

const main = `
metadata name = 'x'
@description('Required. A name.')
@minLength(3)
param name string
param many bool = true
@secure()
param secret string = ''
var list = ['a', 'b'] // two
var more = [for (x, i) in list: { name: x, n: i + 1 }]
/* not
   this */
module inner 'inner.bicep' = if (many) {
  params: { account: 'st${name}', kinds: [for m in more: m.name] }
}
resource alone 'Some.Thing/things@2020-01-01' existing = { name: 'alone' }
resource rule 'Some.Rule/rules@2021-01-01' = {
  name: guid(alone.id, name)
  scope: alone
  properties: {
    #disable-next-line BCP037 // why
    deep: { of: many ? inner!.outputs.blob : '', query: '''
      a 'quoted' | b
    ''' }
    'odata.type': 'T'
    text: reduce(items({ A: name, B: '1' }), 'A%B', (t, p) => replace(t, p.key, p.value))
    map: toObject(list, x => x, x => '${x}!')
    more: more[1].n * 3 / 2
  }
}
output where string = inner!.outputs.blob
`

const inner = `
param account string
param kinds array
resource acc 'Some.Store/accounts@2022-01-01' = {
  name: account
  resource blobs 'services' = {
    name: 'default'
    resource each 'boxes' = [for k in concat(kinds, ['z']): { name: k }]
  }
}
output blob string = '${acc.properties.endpoints.blob}x'
output key string = acc::blobs.id
`

func site() fstest.MapFS {
	return fstest.MapFS{"infra/main.bicep": {Data: []byte(main)}, "infra/inner.bicep": {Data: []byte(inner)}}
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	d, err := bicep.Deploy(site(), "infra/main.bicep", map[string]any{"name": "abc"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range d.Resources {
		got = append(got, r.Type+"@"+r.Version+" "+r.Name)
	}
	want := []string{
		"Some.Store/accounts@2022-01-01 stabc",
		"Some.Store/accounts/services@2022-01-01 stabc/default",
		"Some.Store/accounts/services/boxes@2022-01-01 stabc/default/a",
		"Some.Store/accounts/services/boxes@2022-01-01 stabc/default/b",
		"Some.Store/accounts/services/boxes@2022-01-01 stabc/default/z",
		"Some.Rule/rules@2021-01-01 " + d.Of("Some.Rule/rules")[0].Name,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("resources\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	rule := d.Of("Some.Rule/rules")[0]
	for _, c := range []struct {
		at   string
		want any
	}{
		{"properties.deep.of", "«acc.properties.endpoints.blob»x"},
		{"properties.deep.query", "      a 'quoted' | b\n    "},
		{"properties.text", "abc%1"},
		{"properties.map.b", "b!"},
		{"properties.more", int64(3)},
		{"properties.none", nil},
	} {
		if got := rule.Value(c.at); got != c.want {
			t.Errorf("%s = %#v, want %#v", c.at, got, c.want)
		}
	}
	if rule.Scope != "/Some.Thing/things/alone" {
		t.Errorf("scope %q", rule.Scope)
	}
	if d.Outputs["where"] != "«acc.properties.endpoints.blob»x" {
		t.Errorf("output %v", d.Outputs["where"])
	}
}

func TestDeployWithoutModule(t *testing.T) {
	t.Parallel()
	_, err := bicep.Deploy(site(), "infra/main.bicep", map[string]any{"name": "abc", "many": false})
	if err == nil || !strings.Contains(err.Error(), "module inner is not there") {
		t.Errorf("error %v", err)
	}
}

// What is nested in a resource that is not made is not made either.
func TestConditionsReachNestedResources(t *testing.T) {
	t.Parallel()
	src := "param on bool\nresource a 'S/a@1' = if (on) {\n  name: 'a'\n  resource b 'b' = {\n    name: 'b'\n    resource c 'c' = if (on) { name: 'c' }\n  }\n}"
	for on, want := range map[bool]int{true: 3, false: 0} {
		d, err := bicep.Deploy(fstest.MapFS{"m.bicep": {Data: []byte(src)}}, "m.bicep", map[string]any{"on": on})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Resources) != want {
			t.Errorf("on = %t makes %d resources, want %d", on, len(d.Resources), want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, src, want string }{
		{"unclosed string", "var a = 'x\n", "line 1: string is not closed"},
		{"unclosed hole", "\nvar a = '${x'\n", "line 2: ${ is not closed"},
		{"unclosed block", "var a = '''x", "multi-line string is not closed"},
		{"missing name", "var = 1", "line 1: want a name"},
		{"missing value", "var a = ", "want an expression, found the end of the file"},
		{"two on a line", "var a = 1 var b = 2", "want the end of the line"},
		{"unknown word", "frob a = 1", `"frob" is not understood`},
		{"odd character", "var a = ~", "is not understood"},
		{"entries", "var a = [1 2]", "want , or ]"},
		{"unknown name", "var a = b", "there is no b"},
		{"circle", "var a = b\nvar b = a", "depends on itself"},
		{"missing parameter", "param a string", "parameter is missing"},
		{"not allowed", "@allowed(['b', 'c'])\nparam a string = 'd'", "d is not among the allowed values [b c]"},
		{"too short", "@minLength(2)\nparam a string = 'd'", "d: minLength is 2"},
		{"too many", "@maxLength(1)\nparam a array = ['d', 'e']", "maxLength is 1"},
		{"too small", "@minValue(7)\nparam a int = 6", "6: minValue is 7"},
		{"too great", "@maxValue(7)\nparam a int = 8", "8: maxValue is 7"},
		{"unknown function", "var a = frob(1)", "frob: not understood"},
		{"division", "var a = 1 / 0", "division by zero"},
		{"deep", "var a = " + strings.Repeat("(", 200), "nests too deep"},
		{"deep minus", "var a = " + strings.Repeat("-", 200), "nests too deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fsys := fstest.MapFS{"m.bicep": {Data: []byte(c.src)}}
			if _, err := bicep.Deploy(fsys, "m.bicep", nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{"infra/p.bicepparam": {Data: []byte(
		"using './main.bicep'\nparam a = readEnvironmentVariable('A', 'none')\nparam b = readEnvironmentVariable('B', 'none')\n")}}
	main, params, err := bicep.Params(fsys, "infra/p.bicepparam", func(n string) string { return map[string]string{"A": "set"}[n] })
	if err != nil || main != "infra/main.bicep" || params["a"] != "set" || params["b"] != "none" {
		t.Errorf("%s %v %v", main, params, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(main)
	f.Add(inner)
	f.Add("var a = '${b}${'c'}'\n@x()\nvar d = [for (e, f) in g: if (h) { i: j }]")
	f.Fuzz(func(t *testing.T, src string) {
		if file, err := bicep.Parse("x", src); err == nil && file == nil {
			t.Error("neither file nor error")
		}
	})
}
