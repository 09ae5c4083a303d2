metadata name = 'Network'
metadata description = 'A virtual network for the app and the private endpoints, and the names that lead to them.'

@description('Required. Its name.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Address range, /24 or larger: a /25 for instances and a /27 for endpoints are cut from it.')
param addressPrefix string

@description('Optional. Host name of the on-premises Exchange; leads to ewsAddress.')
param ewsHost string = ''

@description('Optional. Private address of the on-premises Exchange. Empty: its name is asked of public DNS.')
param ewsAddress string = ''

@description('Optional. All calls to the internet come from one public address.')
param fixedAddress bool = false

// Names that the private endpoints answer to, by the service they stand for.
var zones = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  namespace: 'privatelink.servicebus.windows.net'
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}

resource outbound 'Microsoft.Network/publicIPAddresses@2025-05-01' = if (fixedAddress) {
  name: 'pip-${name}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource nat 'Microsoft.Network/natGateways@2025-05-01' = if (fixedAddress) {
  name: 'ng-${name}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIpAddresses: [{ id: outbound.id }] }
}

resource vnet 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressPrefix] }
    subnets: [
      {
        name: 'app' // an instance takes an address, so /25 holds some 120 of all functions together; no underscore in the name
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 25, 0)
          delegations: [
            { name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } }
          ]
          natGateway: fixedAddress ? { id: nat.id } : null
        }
      }
      {
        name: 'endpoints'
        properties: { addressPrefix: cidrSubnet(addressPrefix, 27, 4), privateEndpointNetworkPolicies: 'Enabled' }
      }
    ]
  }

  resource app 'subnets' existing = { name: 'app' }
  resource endpoints 'subnets' existing = { name: 'endpoints' }
}

resource dns 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in items(zones): {
    name: zone.value
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, i) in items(zones): {
    parent: dns[i]
    name: name
    location: 'global'
    properties: { registrationEnabled: false, virtualNetwork: { id: vnet.id } }
  }
]

// The on-premises Exchange, reached by VPN, ExpressRoute or peering: its name leads to its private address, in this
// network only.
resource exchange 'Microsoft.Network/privateDnsZones@2024-06-01' = if (!empty(ewsAddress)) {
  name: ewsHost
  location: 'global'
  tags: tags

  resource address 'A' = {
    name: '@'
    properties: { ttl: 300, aRecords: [{ ipv4Address: ewsAddress }] }
  }

  resource link 'virtualNetworkLinks' = {
    name: name
    location: 'global'
    properties: { registrationEnabled: false, virtualNetwork: { id: vnet.id } }
  }
}

@description('Resource ID of the subnet that instances join.')
output appSubnetId string = vnet::app.id

@description('Resource ID of the subnet with the private endpoints.')
output endpointSubnetId string = vnet::endpoints.id

@description('Resource IDs of the DNS zones: blob, table, namespace, vault.')
output zoneIds object = toObject(
  items(zones),
  zone => zone.key,
  zone => resourceId('Microsoft.Network/privateDnsZones', zone.value)
)

@description('The one public address that calls come from; empty without fixedAddress.')
output outboundAddress string = fixedAddress ? outbound!.properties.ipAddress : ''
