"""Life cycles of SSL certificates (CCM API 4.1), by the SDK for SCM."""
import time

from huaweicloudsdkscm.v3 import (
    ApplyCertificateRequest,
    ApplyCertificateRequestBody,
    BatchCreateOrDeleteTagsRequest,
    BatchCreateOrDeleteTagsRequestBody,
    BatchPushCertificateRequest,
    BatchPushCertificateRequestBody,
    CancelCertificateRequestRequest,
    CreateCertificateTagRequest,
    CreateCertificateTagRequestBody,
    CreateCsrRequest,
    CreateCsrRequestBody,
    DeleteCertificateRequest,
    DeleteCsrRequest,
    DeployCertificateRequest,
    DeployCertificateRequestBody,
    DeployedResource,
    ExportCertificateRequest,
    ImportCertificateRequest,
    ImportCertificateRequestBody,
    ListAllTagsRequest,
    ListCertificatesByTagRequest,
    ListCertificatesByTagRequestBody,
    ListCertificatesRequest,
    ListCsrRequest,
    ListDeployedResourcesRequest,
    ListDeployedResourcesRequestBody,
    ListTagsByCertificateRequest,
    PurchaseCertificateRequestBody,
    PushCertificateRequest,
    PushCertificateRequestBody,
    ScmClient,
    ScsResourceTag,
    ScsTag,
    ShowCertificateRequest,
    ShowCsrPrivateKeyRequest,
    ShowCsrRequest,
    SubscribeCertificateRequest,
    UpdateCSRRequestBody,
    UpdateCsrRequest,
    UploadCsrRequest,
    UploadCsrRequestBody,
)

from common import key_and_request, life, moment, openssl, refused, text, whole, write


def scm_id(value):
    return isinstance(value, str) and len(value) == 16 and value.startswith("scs")


def scm_time(value):
    """`2021-05-27 16:46:25.0`"""
    time.strptime(value.split(".")[0], "%Y-%m-%d %H:%M:%S")
    return True


def own_certificate(account, name):
    """A certificate and its key, made here."""
    key, certificate = account.path("scm.key"), account.path("scm.pem")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "60",
        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:www.{name}",
    )
    with open(certificate, encoding="ascii") as file:
        content = file.read()
    with open(key, encoding="ascii") as file:
        return content, file.read()


def imported(client, account, name, domain):
    certificate, key = own_certificate(account, domain)
    body = ImportCertificateRequestBody(name=name, certificate=certificate, private_key=key)
    answer = client.import_certificate(ImportCertificateRequest(body=body))
    whole(answer, certificate_id=scm_id)
    return answer.certificate_id, certificate, key


def show(client, certificate):
    return client.show_certificate(ShowCertificateRequest(certificate_id=certificate))


@life("4.1.5.2", "4.1.5.1", "4.1.5.3", "4.1.5.5", "4.1.5.4")
def imported_certificate(account):
    client = account.client(ScmClient)
    certificate, pem, key = imported(client, account, "life-import", "import.life.example")
    shown = show(client, certificate)
    whole(
        shown,
        id=certificate,
        status="UPLOAD",
        name="life-import",
        order_id=lambda value: True,
        type=lambda value: True,
        brand=lambda value: True,
        push_support=text,
        revoke_reason=lambda value: value in (None, ""),
        signature_algorithm=lambda value: value.upper().startswith("SHA256"),
        issue_time=lambda value: value in (None, "") or scm_time(value),
        not_before=scm_time,
        not_after=scm_time,
        validity_period=lambda months: months in (1, 2, 12),
        validation_method=lambda value: value in (None, ""),
        domain_type="MULTI_DOMAIN",
        multi_domain_type=lambda value: True,
        domain="import.life.example",
        sans=lambda names: "www.import.life.example" in names,
        shared=False,
        domain_count=2,
        wildcard_count=0,
        authentification=lambda all: not all,
        fingerprint=lambda value: len(value) == 40,
        enterprise_project_id=lambda value: True,
        application_info=lambda value: True,
    )
    listed = client.list_certificates(
        ListCertificatesRequest(limit=10, offset=0, sort_key="certUpdateTime", sort_dir="DESC", status="UPLOAD")
    )
    whole(listed, total_count=1, certificates=lambda all: len(all) == 1)
    one = listed.certificates[0]
    assert (one.id, one.name, one.domain, one.status) == (
        certificate, "life-import", "import.life.example", "UPLOAD",
    )
    assert one.expire_time == shown.not_after and one.sans == shown.sans
    soon = client.list_certificates(ListCertificatesRequest(expired_days_since=61))
    assert [c.id for c in soon.certificates] == [certificate]
    later = client.list_certificates(ListCertificatesRequest(expired_days_since=10))
    assert later.total_count == 0
    exported = client.export_certificate(ExportCertificateRequest(certificate_id=certificate))
    same = lambda a, b: a.replace("\r\n", "\n").strip() == b.replace("\r\n", "\n").strip()
    whole(
        exported,
        entire_certificate=lambda value: "BEGIN CERTIFICATE" in value,
        certificate=lambda value: same(value, pem),
        certificate_chain=lambda value: value in (None, ""),
        private_key=lambda value: "PRIVATE KEY" in value,
        enc_certificate=lambda value: not value,
        enc_private_key=lambda value: not value,
    )
    leaf = write(account, "again.key", exported.private_key)
    assert openssl("pkey", "-in", leaf, "-pubout") == openssl("pkey", "-in", account.path("scm.key"), "-pubout")
    assert key
    whole(client.delete_certificate(DeleteCertificateRequest(certificate_id=certificate)))
    refused(lambda: show(client, certificate), 404, "SCM.0094")


def bought(client, tags=None):
    body = PurchaseCertificateRequestBody(
        cert_brand="GEOTRUST",
        cert_type="DV_SSL_CERT",
        domain_type="SINGLE_DOMAIN",
        effective_time=1,
        domain_numbers=1,
        order_number=1,
        agree_privacy_protection=True,
        is_auto_pay=True,
        tags=tags,
    )
    answer = client.subscribe_certificate(SubscribeCertificateRequest(body=body))
    whole(answer, order_id=text, cert=lambda all: len(all) == 1)
    assert scm_id(answer.cert[0].cert_id)
    return answer.cert[0].cert_id


def apply(client, certificate, domain, csr=None):
    body = ApplyCertificateRequestBody(
        domain=domain,
        csr=csr,
        applicant_name="Li Lei of Corp",
        applicant_phone="13212345678",
        applicant_email="admin@life.example",
        auto_dns_auth=False,
        agree_privacy_protection=True,
        domain_method="DNS",
    )
    answer = client.apply_certificate(ApplyCertificateRequest(certificate_id=certificate, body=body))
    whole(answer, request_info="success")


def becomes(client, certificate, status):
    """Looks again until the server has come to it by itself."""
    last = None
    for _ in range(600):
        last = show(client, certificate)
        if last.status == status:
            return last
        time.sleep(0.1)
    raise AssertionError(f"{certificate} is {last.status}, not {status}")


def prove(account, client, certificate):
    """Puts the record of an application into DNS."""
    waiting = show(client, certificate)
    assert waiting.status == "CHECKING_DOMAIN", waiting.status
    proofs = waiting.authentification
    assert len(proofs) == 1 and proofs[0].record_type == "TXT", proofs
    assert proofs[0].record_name == f"_dnsauth.{waiting.domain}", proofs[0]
    account.names.put(proofs[0].record_name, proofs[0].record_value)


@life("4.1.3.1", "4.1.1.1", "4.1.1.2", "4.1.5.3", "4.1.5.5")
def bought_certificate(account):
    client = account.client(ScmClient)
    certificate = bought(client)
    assert show(client, certificate).status == "PAID"
    # Cancelled before it is proven, and applied for again.
    apply(client, certificate, "buy.life.example")
    cancelled = client.cancel_certificate_request(CancelCertificateRequestRequest(certificate_id=certificate))
    whole(cancelled, cert_id=certificate, message=text)
    becomes(client, certificate, "PAID")
    key, csr = key_and_request(account, "/CN=buy.life.example", "DNS:buy.life.example")
    apply(client, certificate, "buy.life.example", csr)
    prove(account, client, certificate)
    issued = becomes(client, certificate, "ISSUED")
    assert issued.domain == "buy.life.example" and issued.domain_type == "SINGLE_DOMAIN"
    exported = client.export_certificate(ExportCertificateRequest(certificate_id=certificate))
    leaf, above = write(account, "bought.pem", exported.certificate), write(account, "above.pem", exported.certificate_chain)
    assert openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", leaf, "-noout", "-pubkey")
    said = openssl("verify", "-partial_chain", "-CAfile", above, "-verify_hostname", "buy.life.example", leaf)
    assert "OK" in said


@life("4.1.2.1", "4.1.2.2", "4.1.2.3", "4.1.2.4", "4.1.2.5", "4.1.5.2", "4.1.5.4")
def tags(account):
    client = account.client(ScmClient)
    certificate, _, _ = imported(client, account, "life-tags", "tags.life.example")
    body = CreateCertificateTagRequestBody(tag=ScsResourceTag(key="owner", value="life"))
    made = client.create_certificate_tag(CreateCertificateTagRequest(resource_id=certificate, body=body))
    whole(made, desc=lambda value: value is not None)

    def batch(action, pairs):
        both = [ScsResourceTag(key=key, value=value) for key, value in pairs]
        body = BatchCreateOrDeleteTagsRequestBody(action=action, tags=both)
        request = BatchCreateOrDeleteTagsRequest(resource_id=certificate, body=body)
        whole(client.batch_create_or_delete_tags(request), desc=lambda value: value is not None)

    batch("create", [("stage", "test"), ("team", "a")])

    def own():
        answer = client.list_tags_by_certificate(ListTagsByCertificateRequest(resource_id=certificate))
        return sorted((tag.key, tag.value) for tag in answer.tags)

    assert own() == [("owner", "life"), ("stage", "test"), ("team", "a")]
    batch("delete", [("team", "a")])
    assert own() == [("owner", "life"), ("stage", "test")]
    everything = {tag.key: tag.values for tag in client.list_all_tags(ListAllTagsRequest()).tags}
    assert everything["owner"] == ["life"] and everything["stage"] == ["test"]

    def find(action, **filters):
        body = ListCertificatesByTagRequestBody(action=action, **filters)
        request = ListCertificatesByTagRequest(resource_instances="resource_instances", body=body)
        return client.list_certificates_by_tag(request)

    both = [ScsTag(key="owner", values=["life", "other"]), ScsTag(key="stage", values=["test"])]
    found = find("filter", tags=both, limit=10, offset=0)
    assert found.total_count == 1, found
    assert [resource.resource_id for resource in found.resources] == [certificate]
    assert find("count", tags=both).total_count == 1
    assert find("count", tags=[ScsTag(key="owner", values=["nobody"])]).total_count == 0
    client.delete_certificate(DeleteCertificateRequest(certificate_id=certificate))


@life("4.1.4.1", "4.1.4.2", "4.1.4.3", "4.1.4.4", "4.1.4.5", "4.1.4.6", "4.1.4.7")
def requests(account):
    client = account.client(ScmClient)
    wish = {
        "name": "life-csr",
        "domain_name": "csr.life.example",
        "sans": "www.csr.life.example",
        "private_key_algo": "ECDSA_256",
        "usage": "PERSONAL",
        "company_country": "CN",
        "company_province": "Sichuan",
        "company_city": "Chengdu",
        "company_name": "Corp",
    }
    wish["private_key_algo"] = account.config.get("csr_key", "RSA_2048")
    wish["usage"] = account.config.get("csr_usage", "ENTERPRISE")
    made = client.create_csr(CreateCsrRequest(body=CreateCsrRequestBody(**wish)))
    whole(made, id=text, create_time=moment, update_time=moment, **wish)
    shown = client.show_csr(ShowCsrRequest(id=made.id))
    whole(shown, id=made.id, csr=text, create_time=moment, update_time=moment, **wish)
    assert "verify OK" in openssl("req", "-noout", "-verify", given=shown.csr)
    key = client.show_csr_private_key(ShowCsrPrivateKeyRequest(id=made.id))
    whole(key, private_key=lambda value: "PRIVATE KEY" in value)
    path = write(account, "csr.key", key.private_key)
    request = write(account, "shown.csr", shown.csr)
    assert openssl("pkey", "-in", path, "-pubout") == openssl("req", "-in", request, "-noout", "-pubkey")
    renamed = client.update_csr(UpdateCsrRequest(id=made.id, body=UpdateCSRRequestBody(name="life-csr-2")))
    assert renamed.name == "life-csr-2"
    own_key, own = key_and_request(account, "/CN=up.life.example", "DNS:up.life.example")
    with open(own_key, encoding="ascii") as file:
        body = UploadCsrRequestBody(name="life-upload", csr=own, private_key=file.read())
    uploaded = client.upload_csr(UploadCsrRequest(body=body))
    whole(uploaded, id=text, name="life-upload", create_time=moment)
    listed = client.list_csr(ListCsrRequest(limit=10, offset=0))
    names = sorted(csr.name for csr in listed.csr_list)
    assert (listed.total, names) == (2, ["life-csr-2", "life-upload"]), listed
    for csr in (made.id, uploaded.id):
        whole(client.delete_csr(DeleteCsrRequest(id=csr)))
    assert client.list_csr(ListCsrRequest(limit=10, offset=0)).total == 0


@life("4.1.6.1", "4.1.6.2", "4.1.6.3", "4.1.6.4", "4.1.5.2", "4.1.5.4")
def pushed_and_deployed(account):
    client = account.client(ScmClient)
    region, resource = account.config["region"], account.config["resource"]
    certificate, _, _ = imported(client, account, "life-push", "push.life.example")
    body = PushCertificateRequestBody(target_project=region, target_service="WAF")
    whole(client.push_certificate(PushCertificateRequest(certificate_id=certificate, body=body)))
    body = BatchPushCertificateRequestBody(target_projects=[region], target_service="ELB")
    batch = client.batch_push_certificate(BatchPushCertificateRequest(certificate_id=certificate, body=body))
    assert len(batch.results) == 1
    whole(batch.results[0], project_name=region, cert_id=text, message=text)
    assert deployed(client, certificate) == []
    deploy(client, certificate, region, resource)
    assert deployed(client, certificate) == [("WAF", region, resource)]
    # What is wrong with a resource is said of it.
    failures = try_to_deploy(client, certificate, region, "0123456789abcdef0123456789abcdef")
    assert len(failures) == 1 and failures[0].failure_info.startswith("SCM.0103:"), failures
    client.delete_certificate(DeleteCertificateRequest(certificate_id=certificate))


def try_to_deploy(client, certificate, region, resource):
    """To a domain of WAF; what failed."""
    one = DeployedResource(id=resource, type="cloud", enterprise_project_id="0")
    body = DeployCertificateRequestBody(project_name=region, service_name="WAF", resources=[one])
    done = client.deploy_certificate(DeployCertificateRequest(certificate_id=certificate, body=body))
    return done.failure_list


def deploy(client, certificate, region, resource):
    failures = try_to_deploy(client, certificate, region, resource)
    assert failures == [], failures


def deployed(client, certificate):
    """Service, region and id of every resource that serves it."""
    body = ListDeployedResourcesRequestBody(certificate_ids=[certificate], service_names=["ALL"])
    answer = client.list_deployed_resources(ListDeployedResourcesRequest(body=body))
    whole(answer, results=lambda all: len(all) == 1)
    there = lambda services: [
        (service.service, area.region_id, one.resource_id)
        for service in services
        for area in service.region_resources
        for one in area.resources
    ]
    result = answer.results[0]
    found = there(result.deployed_resources)
    whole(result, certificate_id=certificate, total_num=len(found), deployed_resources=lambda all: there(all) == found)
    return found


@life(
    "4.1.3.1", "4.1.1.1", "4.1.5.1", "4.1.5.3", "4.1.5.5", "4.1.2.1", "4.1.2.3", "4.1.2.4", "4.1.6.1", "4.1.6.3",
    "4.1.6.4", "4.1.5.4",
)
def purchase_from_order_to_deletion(account):
    """One certificate all the way; SCM makes its key, and gives it out."""
    client = account.client(ScmClient)
    region, resource = account.config["region"], account.config["resource"]
    certificate = bought(client)
    export = ExportCertificateRequest(certificate_id=certificate)
    refused(lambda: client.export_certificate(export), 400, "SCM.0010")
    refused(lambda: try_to_deploy(client, certificate, region, resource), 400, "SCM.0010")
    apply(client, certificate, "deal.life.example")
    prove(account, client, certificate)
    issued = becomes(client, certificate, "ISSUED")
    assert scm_time(issued.not_after) and len(issued.fingerprint) == 40 and issued.validation_method == "DNS"
    listed = client.list_certificates(ListCertificatesRequest(limit=50, status="ISSUED"))
    assert certificate in [one.id for one in listed.certificates]
    exported = client.export_certificate(export)
    leaf, key = write(account, "deal.pem", exported.certificate), write(account, "deal.key", exported.private_key)
    assert openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", leaf, "-noout", "-pubkey")
    body = CreateCertificateTagRequestBody(tag=ScsResourceTag(key="deal", value="one"))
    client.create_certificate_tag(CreateCertificateTagRequest(resource_id=certificate, body=body))
    own = client.list_tags_by_certificate(ListTagsByCertificateRequest(resource_id=certificate))
    assert [(tag.key, tag.value) for tag in own.tags] == [("deal", "one")]
    body = ListCertificatesByTagRequestBody(action="filter", tags=[ScsTag(key="deal", values=["one"])])
    request = ListCertificatesByTagRequest(resource_instances="resource_instances", body=body)
    found = client.list_certificates_by_tag(request)
    assert [one.resource_id for one in found.resources] == [certificate]
    body = PushCertificateRequestBody(target_project=region, target_service="WAF")
    whole(client.push_certificate(PushCertificateRequest(certificate_id=certificate, body=body)))
    deploy(client, certificate, region, resource)
    assert deployed(client, certificate) == [("WAF", region, resource)]
    # What the resource serves is looked at by who started this.
    account.served = issued.fingerprint
    whole(client.delete_certificate(DeleteCertificateRequest(certificate_id=certificate)))
    refused(lambda: show(client, certificate), 404, "SCM.0094")
