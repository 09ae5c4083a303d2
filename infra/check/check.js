// Parses every Bicep file with tree-sitter and every query with Microsoft's KQL parser, and prints what is wrong.
// Neither knows the types of Azure's resources: bicep build does, where there is a compiler (see ./run).
'use strict'
const fs = require('fs')
const path = require('path')
const vm = require('vm')
const Parser = require('tree-sitter')
const Bicep = require('tree-sitter-bicep')

const infra = path.join(__dirname, '..')

// bicepFaults lists the places at which a file is not Bicep.
function bicepFaults (source) {
  const parser = new Parser()
  parser.setLanguage(Bicep)
  const faults = []
  const walk = node => {
    if (node.isMissing) faults.push(`line ${node.startPosition.row + 1}: ${node.type} is missing`)
    else if (node.type === 'ERROR') faults.push(`line ${node.startPosition.row + 1}: not understood: ${node.text.slice(0, 60)}`)
    else if (node.hasError) node.children.forEach(walk)
  }
  // In one piece, tree-sitter reads at most 32 KB.
  walk(parser.parse(i => source.slice(i, i + 16384)).rootNode)
  return faults
}

// The columns that the queries read, as Azure Monitor has them.
const tables = {
  traces: '(timestamp: datetime, message: string, severityLevel: int)',
  AppTraces: '(TimeGenerated: datetime, Message: string, SeverityLevel: int)',
  AzureMetrics: '(TimeGenerated: datetime, MetricName: string, Total: real, Average: real, Maximum: real, ResourceId: string)'
}

function kusto () {
  const dir = path.join(__dirname, 'node_modules/@kusto/language-service-next')
  for (const file of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
    vm.runInThisContext(fs.readFileSync(path.join(dir, file), 'utf8'), { filename: file })
  }
  const { Symbols, GlobalState, KustoCode } = globalThis.Kusto.Language
  const members = new (globalThis.System.Collections.Generic.List$1(Symbols.Symbol).ctor)()
  for (const [name, columns] of Object.entries(tables)) members.add(Symbols.TableSymbol.From(columns).WithName(name))
  const state = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('monitor', members, false))
  return query => {
    const found = KustoCode.ParseAndAnalyze(query, state).GetDiagnostics()
    return Array.from({ length: found.Count }, (_, i) => {
      const d = found.getItem(i)
      return `line ${query.slice(0, d.Start).split('\n').length}: ${d.Message}`
    })
  }
}

// queries are those of the workbook, with its parameters filled in, and those of the alerts.
function queries () {
  const book = JSON.parse(fs.readFileSync(path.join(infra, 'workbook.json'), 'utf8'))
  const tiles = book.items.filter(i => i.type === 3).map(i => ({
    name: `workbook.json: ${i.name}`,
    text: i.content.query.replaceAll('{Wave}', '').replaceAll('{Price}', '0.000026')
  }))
  const alerts = fs.readFileSync(path.join(infra, 'modules/alerts.bicep'), 'utf8')
  const rules = [...alerts.matchAll(/name: '(\w+)'(?:(?!name: ')[\s\S])*?query: '''([\s\S]*?)'''/g)]
  return tiles.concat(rules.map(m => ({ name: `alerts.bicep: ${m[1]}`, text: m[2] })))
}

// A parser that takes everything finds nothing.
function selfTest (kqlFaults) {
  for (const [text, want] of [["param a string = 'x'\n", 0], ["param a string = 'x\n", 1], ['resource a = {\n', 1], ["var a = [for x in y: { z: 1 }]\n", 0]]) {
    if ((bicepFaults(text).length > 0) !== (want > 0)) throw new Error(`the Bicep parser misjudges ${JSON.stringify(text)}`)
  }
  for (const [text, want] of [['traces | count', 0], ['traces | cuont', 1], ['traces | where level == 1', 1], ['traces | summarize frob(message)', 1]]) {
    if ((kqlFaults(text).length > 0) !== (want > 0)) throw new Error(`the KQL parser misjudges ${JSON.stringify(text)}`)
  }
}

let faults = 0
const report = (where, list) => list.forEach(f => { faults++; console.error(`${where}: ${f}`) })

const kqlFaults = kusto()
selfTest(kqlFaults)
const files = ['.', 'modules'].flatMap(d => fs.readdirSync(path.join(infra, d)).map(f => path.join(d, f))).filter(f => /\.bicep(param)?$/.test(f))
for (const f of files) {
  let source = fs.readFileSync(path.join(infra, f), 'utf8')
  // The grammar does not know parameter files: there, param is var, and using stands before all.
  if (f.endsWith('.bicepparam')) source = source.replace(/^using '[^']*'$/m, '').replace(/^param /gm, 'var ')
  report(f, bicepFaults(source))
}
const all = queries()
for (const q of all) report(q.name, kqlFaults(q.text))
console.log(`Parsed ${files.length} Bicep files and ${all.length} queries: ${faults} faults.`)
process.exit(faults > 0 ? 1 : 0)
