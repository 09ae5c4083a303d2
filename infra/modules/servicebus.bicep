metadata name = 'Service Bus'
metadata description = 'The queues that carry the work. Each has its dead-letter queue, which a park function reads.'

@description('Required. Its name, unique in the world.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Standard or Premium.')
@allowed(['Standard', 'Premium'])
param sku string

@description('Optional. Premium only: messaging units.')
param messagingUnits int = 1

@description('Required. Reachable through a private endpoint only. Needs Premium.')
param private bool

// Sessions and duplicate detection cannot be changed once a queue is there.
var queues = [
  { name: 'plan', sessions: false }
  { name: 'copy', sessions: true } // the session is the mailbox: one delivery at a time
  { name: 'verify', sessions: false }
]

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: name
  location: location
  tags: tags
  sku: sku == 'Premium' ? { name: sku, tier: sku, capacity: messagingUnits } : { name: sku, tier: sku }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
  }

  resource queuesOf 'queues' = [
    for queue in queues: {
      name: queue.name
      properties: {
        requiresSession: queue.sessions
        lockDuration: 'PT5M' // the longest there is; the host renews it while a delivery works
        maxDeliveryCount: 10
        requiresDuplicateDetection: true
        duplicateDetectionHistoryTimeWindow: 'PT10M'
        deadLetteringOnMessageExpiration: true
        maxSizeInMegabytes: 5120 // a million mailboxes wait in less than 2 GB
      }
    }
  ]
}

@description('Resource ID.')
output id string = namespace.id

@description('Name.')
output name string = namespace.name

@description('Host name, for identity-based connections.')
output host string = '${namespace.name}.servicebus.windows.net'
