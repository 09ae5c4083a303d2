metadata name = 'Alerts'
metadata description = 'What somebody must be told of. Queries read the JSON lines that the handler logs.'

@description('Required. What the names contain.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Who is told.')
param emails array

@description('Required. Resource ID of the function app.')
param appId string

@description('Required. Resource ID of the Service Bus namespace.')
param serviceBusId string

@description('Required. Resource ID of Application Insights.')
param insightsId string

// Each fires when its query returns rows. every and within are how often it runs and how far back it looks.
var logAlerts = [
  {
    name: 'parked'
    severity: 2
    every: 'PT5M'
    within: 'PT15M'
    description: 'A message went to a dead-letter queue and was parked. Its mailbox is failed: read its problem, then retry it.'
    query: '''
      traces
      | extend d = parse_json(message)
      | where d.msg in ('parked', 'parked unreadable')
      | project timestamp, queue = tostring(d.queue), wave = tostring(d.wave), mailbox = tostring(d.mailbox), reason = tostring(d.reason)
    '''
  }
  {
    name: 'silent'
    severity: 2
    every: 'PT15M'
    within: 'P1D'
    description: 'Mailboxes that are under way have not been heard of for an hour after they were due: work waits. Look at the queues and at throttling.'
    query: '''
      traces
      | extend d = parse_json(message)
      | where d.msg in ('planned', 'copied', 'snoozed', 'verified', 'mailbox failed', 'parked', 'plan dropped', 'copy dropped', 'verify dropped', 'failed', 'operator acted')
      | extend mailbox = tostring(d.mailbox), due = iff(d.msg == 'snoozed', todatetime(d.until), timestamp)
      | extend resting = d.msg in ('mailbox failed', 'parked') or d.state in ('synced', 'done', 'failed', 'paused', 'cancelled') or d.action in ('pause', 'cancel')
      | summarize arg_max(timestamp, due, resting) by mailbox
      | where not(resting) and due < now() - 1h
    '''
  }
  {
    name: 'crashloop'
    severity: 1
    every: 'PT5M'
    within: 'PT15M'
    description: 'The handler does not stay up. Read the exceptions and the lines around; a bad setting is named in "handler cannot start".'
    query: '''
      traces
      | extend d = parse_json(message)
      | where message has 'Exceeded http worker restart retry count'
          or message has 'exited with code'
          or message has 'Initializing HttpWorker timed out'
          or message has 'Timeout value of'
          or d.msg in ('handler cannot start', 'handler stopped')
          or (d.msg == 'invocation' and d.outcome == 'panic')
      | project timestamp, message
    '''
  }
  {
    name: 'tick'
    severity: 1
    every: 'PT15M'
    within: 'PT30M'
    description: 'The timer that starts waves has not ticked for half an hour: no wave starts.'
    query: '''
      traces
      | extend d = parse_json(message)
      | where d.msg == 'invocation' and d.function == 'startwaves' and d.outcome == 'ok'
      | summarize ticks = count()
      | where ticks == 0
    '''
  }
  {
    name: 'fence'
    severity: 2
    every: 'PT5M'
    within: 'PT30M'
    description: 'The on-premises Exchange keeps a service account away, or Graph the whole app, for more than 15 minutes. For an account: add others, lower ewsConcurrency, or ask who runs it. For graph-app: start fewer mailboxes at once.'
    query: '''
      traces
      | extend d = parse_json(message)
      | where d.msg == 'fenced'
      | summarize longest = max(todouble(d.seconds)), spans = dcount(bin(timestamp, 5m)) by account = tostring(d.account)
      | where longest > 900 or spans > 3
    '''
  }
  {
    name: 'backlog'
    severity: 3
    every: 'PT15M'
    within: 'PT30M'
    description: 'Messages wait for more than half an hour after they are due: there are too few instances, or a side is too slow for what was started.'
    query: '''
      traces
      | extend d = parse_json(message)
      | where d.msg == 'delivered'
      | summarize waited = max(todouble(d.waitedSeconds)) by queue = tostring(d.queue)
      | where waited > 1800
    '''
  }
  {
    name: 'failures'
    severity: 2
    every: 'PT5M'
    within: 'PT15M'
    description: 'Work fails and is tried again. After ten times its mailbox is failed. Read the reason in the lines "failed" and "invocation".'
    query: '''
      traces
      | extend d = parse_json(message)
      | where (d.msg == 'invocation' and d.outcome in ('failed', 'malformed')) or (d.msg == 'delivered' and d.outcome in ('broken', 'retried'))
      | summarize failures = count() by of = strcat(tostring(d.function), tostring(d.queue)), outcome = tostring(d.outcome)
      | where failures >= 5
    '''
  }
]

// Each fires when the metric is above 0. The dead-letter one says that parking itself does not work.
var metricAlerts = [
  {
    name: 'deadletters'
    severity: 1
    scope: serviceBusId
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'DeadletteredMessages'
    aggregation: 'Average'
    dimensions: [{ name: 'EntityName', operator: 'Include', values: ['*'] }]
    description: 'Messages stay in a dead-letter queue: the park functions do not take them off.'
  }
  {
    name: 'http5xx'
    severity: 3
    scope: appId
    namespace: 'Microsoft.Web/sites'
    metric: 'Http5xx'
    aggregation: 'Total'
    dimensions: []
    description: 'The HTTP functions answer 5xx: the ledger cannot be reached, or the handler does not run.'
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(emails)) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: name
    enabled: true
    emailReceivers: [
      for (email, i) in emails: { name: 'operator-${i}', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

var told = empty(emails) ? [] : [people.id]

resource logRules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in logAlerts: {
    name: 'alert-${name}-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Mailferry ${name}: ${alert.name}'
      description: alert.description
      severity: alert.severity
      enabled: true
      autoMitigate: true
      scopes: [insightsId]
      evaluationFrequency: alert.every
      windowSize: alert.within
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: told }
    }
  }
]

resource metricRules 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in metricAlerts: {
    name: 'alert-${name}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: alert.description
      severity: alert.severity
      enabled: true
      autoMitigate: true
      scopes: [alert.scope]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: alert.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: 'GreaterThan'
            threshold: 0
            dimensions: alert.dimensions
          }
        ]
      }
      actions: empty(emails) ? [] : [{ actionGroupId: people.id }]
    }
  }
]
