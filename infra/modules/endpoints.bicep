metadata name = 'Endpoints'
metadata description = 'Private endpoints for what holds mail or secrets.'

@description('Required. What the names contain.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Resource ID of the subnet with the endpoints.')
param subnetId string

@description('Required. Resource IDs of the DNS zones: blob, table, namespace, vault.')
param zoneIds object

@description('Required. Resource ID of the storage account.')
param storageId string

@description('Required. Resource ID of the Service Bus namespace.')
param serviceBusId string

@description('Required. Resource ID of the key vault.')
param keyVaultId string

// Queue storage is not among them: no function has a blob or queue trigger.
var targets = [
  { group: 'blob', id: storageId }
  { group: 'table', id: storageId }
  { group: 'namespace', id: serviceBusId }
  { group: 'vault', id: keyVaultId }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2025-05-01' = [
  for target in targets: {
    name: 'pe-${name}-${target.group}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: target.group
          properties: { privateLinkServiceId: target.id, groupIds: [target.group] }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = [
  for (target, i) in targets: {
    parent: endpoints[i]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        { name: target.group, properties: { privateDnsZoneId: zoneIds[target.group] } }
      ]
    }
  }
]
